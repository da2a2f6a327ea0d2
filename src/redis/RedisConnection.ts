/**
 * A connection to Redis that comes back by itself, and the `Redis` service over it.
 *
 * While there is none all fails at once: nothing is kept, to be sent long
 * after. One that ends, that does not answer, or that leads to a server which
 * is not the one to talk to any more, is dropped with all that was asked on it.
 * The next is tried for without end, about once a second.
 *
 * A server says itself that it is not the one: a master that was demoted is
 * `READONLY`, and one that begins is `LOADING`. Its connections live on, also
 * where its address leads to another by now, so all of them are left.
 */
import * as Deferred from "effect/Deferred"
import * as Duration from "effect/Duration"
import * as Effect from "effect/Effect"
import * as Latch from "effect/Latch"
import * as Redis from "effect/persistence/Redis"
import * as Schedule from "effect/Schedule"
import type * as Scope from "effect/Scope"
import { createClient, DisconnectsClientError, ErrorReply } from "redis"
import * as Backoff from "../store/Backoff.ts"
import { elsewhere } from "./script.ts"

/** What node-redis is told to connect to. */
export type ClientOptions = NonNullable<Parameters<typeof createClient>[0]>

type Client = ReturnType<typeof createClient>

/** A server to talk to. */
export interface Endpoint {
  readonly client: ClientOptions
  /** Succeeds once it is not the one to talk to any more. */
  readonly left: Effect.Effect<void>
}

/** Where to connect, and how long a server may need for anything. */
export interface Options {
  /** Asked before each connection. */
  readonly locate: Effect.Effect<Endpoint, Redis.RedisError>
  readonly patience: Duration.Duration
}

/** Sends one command. It fails at once while there is no connection, with the reason. */
export type Send = Redis.Redis["Service"]["send"]

/** The most commands that may wait for an answer on one connection. Further ones fail. */
const maxPending = 65_536
/** A connection is asked whether it is alive after so long. */
const beat = Duration.seconds(1)
/** How long to wait before connecting again, from one failure to the next. */
export const backoff = Backoff.doubling("50 millis", "800 millis")

const failed = (cause: unknown): Redis.RedisError => new Redis.RedisError({ cause })

const request = <A>(ask: () => Promise<unknown>): Effect.Effect<A, Redis.RedisError> =>
  Effect.tryPromise({ try: () => ask() as Promise<A>, catch: failed })

// It may be within that of a script.
const saysElsewhere = new RegExp(`(?:^|[\\s-])(?:${elsewhere.join("|")}) `)

/** Whether Redis says that another server is to be asked, or the same one later. */
const isElsewhere = (cause: unknown): boolean => cause instanceof ErrorReply && saysElsewhere.test(cause.message)

/** The connections that are open: each is ended by what is given here. */
type Connections = Set<Deferred.Deferred<never, Redis.RedisError>>

/** A connected client, and how it ends: as soon as it is known to be of no use. */
const open = Effect.fnUntraced(function*({ locate, patience }: Options, connections: Connections) {
  const endpoint = yield* locate
  const inTime = Effect.timeoutOrElse({
    duration: patience,
    orElse: () => Effect.fail(failed(new Error("Redis does not answer")))
  })
  const closed = Deferred.makeUnsafe<never, Redis.RedisError>()
  yield* Effect.acquireRelease(
    Effect.sync(() => connections.add(closed)),
    () => Effect.sync(() => connections.delete(closed))
  )
  const client: Client = yield* Effect.acquireRelease(
    Effect.try({
      try: () =>
        createClient({
          ...endpoint.client,
          RESP: 3,
          disableOfflineQueue: true,
          commandsQueueMaxLength: maxPending,
          maintNotifications: "disabled",
          // Its own would cost a timer for each command, and ours bounds them all.
          commandOptions: { timeout: 0 },
          socket: {
            ...endpoint.client.socket,
            connectTimeout: Duration.toMillis(patience),
            reconnectStrategy: false
          } as NonNullable<ClientOptions["socket"]>
        }),
      // What it throws holds the URL, and so the password.
      catch: () => failed(new Error("the driver cannot read the URL"))
    }),
    (client) => Effect.sync(() => client.destroy())
  )
  // Without a listener Node ends the process.
  client.on("error", (cause) => {
    if (!client.isOpen) Deferred.doneUnsafe(closed, Effect.fail(failed(cause)))
  })
  yield* inTime(request(() => client.connect()))
  const lost: Effect.Effect<never, Redis.RedisError> = Effect.raceAllFirst([
    Deferred.await(closed),
    request(() => client.ping()).pipe(inTime, Effect.delay(beat), Effect.forever),
    Effect.andThen(endpoint.left, Effect.fail(failed(new Error("another server is to be talked to"))))
  ])
  return { client, lost }
})

/**
 * Keeps a connection for as long as the scope lives. Comes back once the first
 * attempt is over, whether it is connected then or not.
 */
export const keep = (options: Options): Effect.Effect<Send, never, Scope.Scope> => keepAmong(options, new Set())

const keepAmong = Effect.fnUntraced(function*(
  options: Options,
  connections: Connections
): Effect.fn.Return<Send, never, Scope.Scope> {
  let client: Client | undefined
  let reason = failed(new Error("Redis is not connected"))
  const tried = Latch.makeUnsafe()

  const session = Effect.gen(function*() {
    const opened = yield* open(options, connections)
    client = opened.client
    tried.openUnsafe()
    reason = yield* Effect.flip(opened.lost).pipe(Effect.ensuring(Effect.sync(() => client = undefined)))
  }).pipe(
    Effect.scoped,
    Effect.tapError((error) =>
      Effect.sync(() => {
        reason = error
        tried.openUnsafe()
      })
    )
  )
  yield* session.pipe(Effect.retry(backoff), Effect.repeat(Schedule.spaced("50 millis")), Effect.forkScoped)
  yield* tried.await

  return (command, ...args) =>
    Effect.suspend(() => {
      const connected = client
      return connected === undefined ? Effect.fail(reason) : Effect.tryPromise({
        try: () => connected.sendCommand([command, ...args]) as Promise<any>,
        catch: (cause) => {
          // That of a connection which was dropped says nothing of why.
          if (cause instanceof DisconnectsClientError) return reason
          if (isElsewhere(cause)) {
            for (const closed of connections) Deferred.doneUnsafe(closed, Effect.fail(failed(cause)))
          }
          return failed(cause)
        }
      })
    })
})

/** The `Redis` service over such a connection, with one more for each subscription. It reserves none. */
export const make = Effect.fnUntraced(function*(options: Options) {
  const connections: Connections = new Set()
  return yield* Redis.make({
    send: yield* keepAmong(options, connections),
    subscribe: Effect.fnUntraced(function*(channel, onMessage) {
      const { client, lost } = yield* open(options, connections)
      const subscribed = request(() => client.subscribe(channel, (message) => onMessage({ channel, message })))
      yield* Effect.raceFirst(subscribed, lost)
      return lost
    }),
    connect: Effect.fail(failed(new Error("no connection can be reserved")))
  })
})
