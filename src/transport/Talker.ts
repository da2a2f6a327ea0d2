/**
 * The one thing that a client does: send a request, and get its answer.
 *
 * Programs above know only this service, so a server far away, a LockServer in the
 * same process and a script in a test are the same to them.
 */
import * as Context from "effect/Context"
import * as SecureRandom from "effect/crypto/SecureRandom"
import * as Duration from "effect/Duration"
import * as Effect from "effect/Effect"
import * as Base64Url from "effect/encoding/Base64Url"
import * as Layer from "effect/Layer"
import type * as Scope from "effect/Scope"
import type * as Socket from "effect/socket/Socket"
import { InvalidOption, type TalkError } from "../DlmError.ts"
import { type Feature, type Request, type Response, Shards, shardsProblem } from "../protocol/Protocol.ts"
import * as Background from "./Background.ts"
import * as Connecting from "./Connecting.ts"
import { type Notice, Notices } from "./Notices.ts"
import * as Sharded from "./Sharded.ts"

/**
 * Sends one request, and gives its answer.
 *
 * It fails with a `TransportError` where no whole answer came (the request may
 * have been carried out), and with a `ProtocolError` where what came is no
 * answer of the protocol. It does not retry: that is the Locker's.
 *
 * @example
 * ```ts
 * import { Effect } from "effect"
 * import { Talker } from "effect-dlm"
 *
 * const version = Effect.gen(function*() {
 *   const talker = yield* Talker.Talker
 *   return yield* talker.talk({ ID: "me", FileName: "", Action: "Version", Expire: 0 })
 * })
 * ```
 */
export class Talker extends Context.Service<Talker, {
  readonly talk: (request: Request) => Effect.Effect<Response, TalkError>
  /**
   * What the server can beyond the reference: what the connection that carries the next request has named. Without it,
   * as in a mock, there are none, and no request asks for them.
   *
   * That connection may be lost before the next request, which then goes by another one, of an older server perhaps. An
   * extension that the connection of a request does not have after all is not sent: `Wait` is left out, so that a lock
   * that is held is answered at once, and a request with `Fence` or `Heir`, or `Describe`, fails with a `TransportError`
   * (`Closed`) without being sent. Asking for the features again then tells what has changed.
   */
  readonly features?: Effect.Effect<ReadonlySet<Feature>, TalkError> | undefined
  /** The same of the server that has a name, where not all names have one server. Without it, `features` is that. */
  readonly featuresOf?: ((name: string) => Effect.Effect<ReadonlySet<Feature>, TalkError>) | undefined
  /**
   * Runs, behind its caller, what gives back a lock: a Talker that closes waits for it, at most 5 seconds, and serves
   * requests meanwhile. It is begun before this comes back. A Talker that has closed begins nothing any more. Without it such work
   * runs detached.
   */
  readonly background?: ((self: Effect.Effect<void>) => Effect.Effect<void>) | undefined
  /**
   * Whether interrupting `talk` ends it at once, and what is asked after it comes to the server after it. Without it each
   * request runs in a fiber of its own, so that whoever is interrupted need not wait for a Talker that does not listen.
   */
  readonly isPrompt?: boolean | undefined
  /**
   * Calls back with each tenure that the server says was revoked, whoever has it, until what this gives is called. Without
   * it a lease that is revoked hears of it at its next renewal.
   */
  readonly notices?: ((listener: (notice: Notice) => void) => () => void) | undefined
}>()("effect-dlm/Talker") {}

/** How to reach a server over sockets, and how long to wait for it. */
export interface SocketOptions {
  /** Makes a socket to the server, which dials when its reader is acquired. A new one is made for each connection. */
  readonly connect: Effect.Effect<Socket.Socket>
  /** How long connecting may take, and then the answer to what the server can. By default 5 seconds. */
  readonly openTimeout?: Duration.Input | undefined
  /** How long an answer may take, from the moment the connection is open. By default 30 seconds. */
  readonly answerTimeout?: Duration.Input | undefined
  /**
   * How to write messages: as `frames`, which cost less, to a server that knows them (`frames` in its features), or always
   * as `lines`. By default `frames`. Something between the two that reads lines needs `lines`.
   */
  readonly wire?: "frames" | "lines" | undefined
}

/** 128 bits: nobody guesses them, and no two clients draw the same. */
const sessionBytes = 16

const drawSession = SecureRandom.SecureRandom.use((random) => random.randomBytes(sessionBytes)).pipe(
  Effect.map(Base64Url.encode),
  Effect.provide(SecureRandom.layerWebCrypto)
)

/**
 * Talks to a server over sockets.
 *
 * On a server that knows `Seq`, one connection carries everything: requests
 * are pipelined, answered in any order, and written many at a time. It is
 * opened by the first request, which finds out by asking for the `Version`,
 * and again after it was lost. On any other server, such as the reference,
 * each request has a connection of its own; should a better server come up
 * behind the same address, it is noticed. What the server is, only its answers
 * decide: one that is late or lost fails the request that needed it, and the
 * next one tries anew.
 *
 * A connection that falls silent while an answer is missing is asked for a sign
 * of life after a second, and given up 3 seconds later; what was asked on it
 * fails, and the next request opens another. While a request waits for a lock,
 * a sign of life goes to the server every 2 seconds. A connection that nobody
 * has used for a minute is closed, and the next request opens another.
 *
 * Interrupting a request ends it at once. As the scope closes, requests are
 * served until what runs in the background has ended, at most 5 seconds; then
 * those under way and all later ones fail with `Released`. Nothing is left
 * behind: no socket, no fiber, no timer.
 */
export const makeSocket = Effect.fnUntraced(function*(
  options: SocketOptions
): Effect.fn.Return<Talker["Service"], never, Scope.Scope> {
  const notices = new Notices()
  const connecting = yield* Connecting.make({
    notices,
    connect: options.connect,
    openTimeout: Duration.fromInputUnsafe(options.openTimeout ?? "5 seconds"),
    answerTimeout: Duration.fromInputUnsafe(options.answerTimeout ?? "30 seconds"),
    session: yield* drawSession,
    wire: options.wire ?? "frames",
    shard: yield* Sharded.Shard
  })
  // After the connections, and so released before them: it needs them to the end.
  const background = yield* Background.make
  return Talker.of({
    talk: (request) => connecting.talk(request),
    features: connecting.features,
    background,
    isPrompt: true,
    notices: (listener) => notices.listen(listener)
  })
})

/**
 * Talks to a server over sockets.
 *
 * For TCP or TLS on Node see `NodeTalker`.
 *
 * @see {@link makeSocket} for what it does with connections
 */
export const layerSocket = (options: SocketOptions): Layer.Layer<Talker> => Layer.effect(Talker, makeSocket(options))

/** One of several servers that have a share of the names each. */
export interface ShardServer<E = never, R = never> {
  /** What it is called in every program that uses these servers: 1 to 64 letters, digits, `.`, `-` and `_`. */
  readonly name: string
  /** How to reach it. It is built for this alone, whatever else uses the same layer. */
  readonly talker: Layer.Layer<Talker, E, R>
}

/**
 * Talks to several servers, each of which has a share of the names: see `layerSharded`.
 *
 * An empty list, a name that is none, and one that is there twice are an `InvalidOption`.
 */
export const makeSharded = Effect.fnUntraced(function*<E = never, R = never>(
  servers: ReadonlyArray<ShardServer<E, R>>
): Effect.fn.Return<Talker["Service"], E | InvalidOption, R | Scope.Scope> {
  const names = servers.map(({ name }) => name)
  const problem = shardsProblem(names)
  if (problem !== undefined) return yield* new InvalidOption({ name: "Talker", option: "servers", problem })
  const shards = new Shards(names)
  const talkers = yield* Effect.forEach(servers, ({ name, talker }) =>
    Effect.map(
      // Afresh: one that others use as well has not said which server it means.
      Effect.provideService(Layer.build(Layer.fresh(talker)), Sharded.Shard, shards.textOf(name)),
      (context) => [name, Context.get(context, Talker)] as const
    ))
  // After the Talkers, and so released before them: it needs them to the end.
  const background = yield* Background.make
  return Talker.of({ ...Sharded.make(shards, new Map(talkers)), background })
})

/**
 * Talks to several servers, each of which has a share of the names, for more locks a second than one server can do.
 *
 * - A name has one server, by its own text and the servers' names (rendezvous hashing): never by their addresses or their
 *   order. What is promised of a name is what that server promises.
 * - A server that cannot be reached takes its names with it: what is asked about them fails, and is never asked of another.
 *   All other names go on.
 * - All programs must have the same list. Over sockets each connection tells which server it means and of which list, and
 *   one to a server that was not started with just that (`dlm serve --shard a --shards a,b,c`) fails with `WrongShard`
 *   before anything is asked. A Talker without sockets, such as a mock or a LockServer in this process, is not asked.
 *
 * `features` are what all servers that answer have in common, `featuresOf` those of the server of a name. A `Version` about
 * no name (`FileName: ""`) is answered by the first of the list that can be reached.
 *
 * @example
 * ```ts
 * import { Effect } from "effect"
 * import { Lease, Talker } from "effect-dlm"
 * import { LockServer } from "effect-dlm/server"
 *
 * const talker = Talker.layerSharded([
 *   { name: "a", talker: LockServer.layerTalkerMemory },
 *   { name: "b", talker: LockServer.layerTalkerMemory }
 * ])
 * const program = Effect.log("alone with the file").pipe(Lease.withLock("orders.csv"), Effect.provide(talker))
 * ```
 */
export const layerSharded = <E = never, R = never>(
  servers: ReadonlyArray<ShardServer<E, R>>
): Layer.Layer<Talker, E | InvalidOption, R> => Layer.effect(Talker, makeSharded(servers))
