/**
 * A Vault behind sockets: the server.
 */
import * as Clock from "effect/Clock"
import * as Context from "effect/Context"
import * as Deferred from "effect/Deferred"
import * as Duration from "effect/Duration"
import * as Effect from "effect/Effect"
import * as Exit from "effect/Exit"
import * as Fiber from "effect/Fiber"
import * as Layer from "effect/Layer"
import * as Metric from "effect/Metric"
import * as Result from "effect/Result"
import * as Scope from "effect/Scope"
import * as Socket from "effect/socket/Socket"
import * as SocketServer from "effect/socket/SocketServer"
import { LineWriter } from "../internal/LineWriter.ts"
import { monotonicMillisUnsafe } from "../internal/time.ts"
import * as Metrics from "../Metrics.ts"
import * as Protocol from "../Protocol.ts"
import * as Wire from "../Wire.ts"
import { Identities } from "./Identities.ts"
import { Limits } from "./Limits.ts"
import { Vault } from "./Vault.ts"

/** The address that a connection comes from, where the platform tells it. Its limit is per address then. */
export const ClientAddress: Context.Reference<Effect.Effect<string | undefined>> = Context.Reference<
  Effect.Effect<string | undefined>
>("effect-dlm/vault/VaultServer/ClientAddress", { defaultValue: () => Effect.undefined })

/** The most bytes that a character takes on the wire. */
const maxWireBytesPerCharacter = 6

/** Of so many bad requests one is logged, the first included, so that a flood of them stays a trickle. */
const logEvery = 1000

// Made once for each of the few kinds, since there is one for each request.
const answeredByKind = new Map<string, Metric.Counter<number>>()
const answered = (action: Protocol.Action, status: Protocol.Response["Status"]): Metric.Counter<number> => {
  const kind = action + status
  let counter = answeredByKind.get(kind)
  if (counter === undefined) answeredByKind.set(kind, counter = Metrics.requests(action, status))
  return counter
}

/** A connection's request that is still coming in. */
interface Unfinished {
  readonly bytes: () => number
  readonly isProved: () => boolean
  readonly refuse: () => void
}

/**
 * Serves the Vault on the SocketServer that is provided, until interrupted.
 *
 * A request with a `Seq` leaves its connection open for more, which are
 * answered in any order, each with its own; after the answer to one without,
 * the connection is closed. Whatever arrives, the server lives on: what is no
 * request is answered `BadPayload`, counted, and logged once in a thousand,
 * without any part of it.
 */
export const run: Effect.Effect<
  never,
  SocketServer.SocketServerError,
  Vault | Identities | SocketServer.SocketServer
> = Effect.gen(function*() {
  const server = yield* SocketServer.SocketServer
  const vault = yield* Vault
  const identities = yield* Identities
  const limits = yield* Limits
  const clock = yield* Clock.Clock
  const context = yield* Effect.context<never>()
  const fork = Effect.runForkWith(context)
  const clientAddress = yield* ClientAddress
  // Whoever has an identity may say so after its data.
  const maxUnprovedLineBytes = Math.min(
    limits.maxLineBytes,
    limits.maxAnonymousLineBytes + identities.maxDataCharacters * maxWireBytesPerCharacter
  )
  let connections = 0
  let lingering = 0
  const connectionsByAddress = new Map<string, number>()
  const unfinished = new Set<Unfinished>()
  let inFlightBytes = 0
  // Of the unfinished requests of those who have proved no identity.
  let unprovedBytes = 0
  let unsentBytes = 0
  let bad = 0

  const refuse = Effect.fnUntraced(function*(problem: Protocol.BadRequest["problem"] | "TooLong") {
    yield* Metric.update(Metrics.badRequests(problem), 1)
    if (bad++ % logEvery === 0) {
      yield* Effect.logWarning(
        `A request was refused: ${problem}. ${bad} so far, of which one in ${logEvery} is logged`
      )
    }
  })

  // Whoever holds the most of what is short gives it back.
  const refuseLongest = (among: (one: Unfinished) => boolean): boolean => {
    let longest: Unfinished | undefined
    for (const one of unfinished) {
      if (among(one) && (longest === undefined || one.bytes() > longest.bytes())) longest = one
    }
    if (longest === undefined || longest.bytes() === 0) return false
    longest.refuse()
    return true
  }
  // A single one may always be as long as a line may be.
  const maxUnprovedBytes = Math.max(limits.maxInFlightBytes / 4, maxUnprovedLineBytes)
  const isFlooded = () => unprovedBytes > maxUnprovedBytes
  const isOverloaded = () => inFlightBytes > limits.maxInFlightBytes
  const relieve = () => {
    while (isFlooded() && refuseLongest((one) => !one.isProved()));
    while (isOverloaded() && refuseLongest(() => true));
  }

  const converse = Effect.fnUntraced(function*(socket: Socket.Socket) {
    const pull = yield* Socket.readerBytes(socket)
    const scope = yield* Effect.scope
    const writing = yield* Scope.fork(scope)
    const writer = yield* Scope.provide(socket.writer, writing)
    const framer = new Wire.Framer(maxUnprovedLineBytes)
    const answers = new LineWriter()
    const running = new Map<Fiber.Fiber<Protocol.Response>, Protocol.Request>()
    const ended = Deferred.makeUnsafe<void>()
    // How many of them queue for a lock: they must not keep from being read what they wait for, such as its unlock.
    let waiting = 0
    let makeRoom: (() => void) | undefined
    let pendingBytes = 0
    let countedUnsentBytes = 0
    let isProved = false
    // No further request is taken: one without a Seq was the last, or the client has ended its side.
    let closing = false

    const countUnsent = (bytes: number) => {
      unsentBytes += bytes - countedUnsentBytes
      countedUnsentBytes = bytes
    }

    // Ends the connection now, whatever is still to be sent.
    const destroy = Effect.ignore(writer.write(new Socket.CloseEvent(1000)))
    const timedOut = Metric.update(Metrics.timedOutConnections, 1).pipe(
      Effect.andThen(destroy),
      Effect.andThen(Effect.fail(new Socket.SocketError({ reason: new Socket.SocketCloseError({ code: 1006 }) })))
    )
    yield* Effect.addFinalizer((exit) =>
      // Whoever has gone waits for nothing any more.
      Fiber.interruptAll(running.keys()).pipe(
        Effect.andThen(Effect.sync(() => countUnsent(0))),
        // A server that is told to stop would else wait for a client that never takes its answer.
        Effect.andThen(Exit.hasInterrupts(exit) ? destroy : Effect.void)
      )
    )

    const endIfDone = () => {
      if (closing && running.size === 0 && answers.unsentBytes === 0) Deferred.doneUnsafe(ended, Effect.void)
    }
    const reply = (Seq: string | undefined, response: Protocol.Response) => {
      answers.push(JSON.stringify(Seq === undefined ? response : { ...response, Seq }))
      countUnsent(answers.unsentBytes)
    }

    const answer = (request: Protocol.Request, response: Protocol.Response) => {
      answered(request.Action, response.Status).updateUnsafe(1, context)
      if (request.Name !== undefined && response.Status !== "BadPayload" && !isProved) {
        isProved = true
        unprovedBytes -= pendingBytes
        framer.maxLineBytes = limits.maxLineBytes
      }
      reply(request.Seq, response)
    }

    // Requests run side by side; most are answered before this returns.
    const start = (request: Protocol.Request, bytes: number) => {
      if (inFlightBytes + bytes > limits.maxInFlightBytes) return reply(request.Seq, { Status: "NO" })
      const waits = request.Wait !== undefined
      const fiber = fork(vault.handle(waits && waiting >= limits.maxRunning ? { ...request, Wait: 0 } : request))
      const exit = fiber.pollUnsafe()
      if (exit !== undefined) return Exit.isSuccess(exit) ? answer(request, exit.value) : undefined
      running.set(fiber, request)
      inFlightBytes += bytes
      if (waits) waiting++
      fiber.addObserver((exit) => {
        running.delete(fiber)
        inFlightBytes -= bytes
        if (waits) waiting--
        if (Exit.isSuccess(exit)) answer(request, exit.value)
        makeRoom?.()
        endIfDone()
      })
    }

    const accept = Effect.fnUntraced(function*(line: Uint8Array) {
      const request = Protocol.decodeRequest(line, limits.maxJsonDepth)
      const Seq = Result.isSuccess(request) ? request.success.Seq : request.failure.Seq
      if (Seq === undefined) closing = true
      if (Result.isSuccess(request)) return start(request.success, line.length)
      yield* refuse(request.failure.problem)
      reply(Seq, { Status: request.failure.Status })
    })

    // Of a request that does not come to its end here, the beginning may say its Seq.
    const replyToBeginning = (response: Protocol.Response) => {
      closing = true
      const { beginning } = framer
      const json = Wire.decodeLine(beginning.subarray(0, beginning.length & ~1))
      reply(Result.isSuccess(json) ? Protocol.seqOfBeginning(json.success) : undefined, response)
      endIfDone()
    }

    const count = (bytes: number) => {
      inFlightBytes += bytes - pendingBytes
      if (!isProved) unprovedBytes += bytes - pendingBytes
      pendingBytes = bytes
    }
    const mine: Unfinished = {
      bytes: () => pendingBytes,
      isProved: () => isProved,
      refuse: () => {
        framer.abandon()
        count(0)
        replyToBeginning({ Status: "NO" })
      }
    }
    unfinished.add(mine)
    yield* Effect.addFinalizer(() =>
      Effect.sync(() => {
        unfinished.delete(mine)
        count(0)
      })
    )

    // Where a client asks faster than it is answered, or takes its answers, its requests stay in the network.
    const isFull = () =>
      running.size - waiting >= limits.maxRunning || answers.unsentBytes >= limits.maxUnsentBytes ||
      // Where all together are behind, each goes on once its own are taken.
      (unsentBytes > limits.maxInFlightBytes && answers.unsentBytes > 0)
    const room = Effect.callback<void>((resume) => {
      makeRoom = () => {
        makeRoom = undefined
        resume(Effect.void)
      }
    })

    const now = () => monotonicMillisUnsafe(clock)
    const requestMillis = Duration.toMillis(limits.requestTimeout)
    // By when the request that has begun must be whole; a connection begins with one.
    let deadline: number | undefined = now() + requestMillis

    const pullInTime = Effect.suspend(() =>
      deadline === undefined || closing ? pull : Effect.timeoutOrElse(pull, {
        duration: Duration.millis(Math.max(0, deadline - now())),
        orElse: () => timedOut
      })
    )

    const take = Effect.fnUntraced(function*(chunks: ReadonlyArray<Uint8Array>) {
      // What comes after the last request is read only to see the client go.
      if (closing) return
      for (const chunk of chunks) {
        const lines = framer.push(chunk)
        count(framer.pendingBytes)
        for (const line of lines) {
          deadline = undefined
          if (closing) break
          while (isFull()) yield* room
          yield* accept(line)
        }
      }
      if (framer.overflowed && !closing) {
        yield* refuse("TooLong")
        replyToBeginning({ Status: "BadPayload" })
      }
      relieve()
      deadline = framer.pendingBytes === 0 ? undefined : deadline ?? now() + requestMillis
    })

    // No generator: while the next chunks are waited for it would hold on to the last, 64 KiB for each connection.
    const read = Effect.forever(Effect.flatMap(pullInTime, take), { disableYield: true }).pipe(
      Effect.catchTag("SocketError", (error) => {
        if (error.reason._tag !== "SocketCloseError" || error.reason.code !== 1000) return Effect.fail(error)
        // The client has ended its side: it gets what it asked for, unless it would have to be waited for.
        closing = true
        const waiting = Array.from(running).filter(([, request]) => request.Wait !== undefined)
        return Effect.andThen(Fiber.interruptAll(waiting.map(([fiber]) => fiber)), Effect.sync(endIfDone))
      }),
      Effect.andThen(Effect.never)
    )

    const write = answers.run(
      (bytes) => Effect.timeoutOrElse(writer.write(bytes), { duration: limits.writeTimeout, orElse: () => timedOut }),
      () => {
        countUnsent(answers.unsentBytes)
        makeRoom?.()
        endIfDone()
      }
    )
    yield* Effect.raceAllFirst([write, read, Deferred.await(ended)])
    if (!framer.overflowed || lingering >= limits.maxLingering) return
    // Closing with unread input resets the connection, and perhaps the answer with it: end it, and read on for a while.
    lingering++
    yield* Scope.close(writing, Exit.void)
    yield* Effect.forever(pull, { disableYield: true }).pipe(
      Effect.timeoutOrElse({ duration: limits.requestTimeout, orElse: () => timedOut }),
      Effect.ensuring(Effect.sync(() => lingering--))
    )
  }, Effect.scoped)

  return yield* server.run((socket) =>
    Effect.flatMap(clientAddress, (address = "") => {
      const fromThere = connectionsByAddress.get(address) ?? 0
      if (connections >= limits.maxConnections || (address !== "" && fromThere >= limits.maxConnectionsPerAddress)) {
        return Effect.andThen(Metric.update(Metrics.refusedConnections, 1), Effect.scoped(socket.reader))
      }
      connections++
      Metrics.connections.modifyUnsafe(1, context)
      connectionsByAddress.set(address, fromThere + 1)
      return converse(socket).pipe(
        // A client that goes away is no event: its connection is over, and that is all.
        Effect.catchTag("SocketError", () => Effect.void),
        Effect.ensuring(Effect.sync(() => {
          connections--
          Metrics.connections.modifyUnsafe(-1, context)
          const left = connectionsByAddress.get(address)! - 1
          if (left === 0) connectionsByAddress.delete(address)
          else connectionsByAddress.set(address, left)
        }))
      )
    })
  )
})

/** Serves the Vault in the background, as long as the layer lives. */
export const layer: Layer.Layer<never, never, Vault | Identities | SocketServer.SocketServer> = Layer.effectDiscard(
  Effect.forkScoped(Effect.orDie(run))
)
