/**
 * A LockServer behind sockets: the server.
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
import { monotonicMillisUnsafe } from "../lib/monotonic.ts"
import * as Protocol from "../protocol/Protocol.ts"
import * as Wire from "../protocol/Wire.ts"
import { LineWriter } from "../transport/LineWriter.ts"
import { Admission } from "./Admission.ts"
import { Identities } from "./Identities.ts"
import { Limits } from "./Limits.ts"
import { LockServer } from "./LockServer.ts"
import * as Metrics from "./Metrics.ts"
import { RunQueue } from "./RunQueue.ts"

/** The address that a connection comes from, where the platform tells it. Its limit is per address then. */
export const ClientAddress: Context.Reference<Effect.Effect<string | undefined>> = Context.Reference<
  Effect.Effect<string | undefined>
>("effect-dlm/server/SocketLockServer/ClientAddress", { defaultValue: () => Effect.undefined })

/** The most bytes that a character takes on the wire. */
const maxWireBytesPerCharacter = 6

/** Whoever asks for so much at once waits for its turn; less is always answered at once. */
const manyLines = 8

/** For so long, in milliseconds, those who do are served in one turn of the event loop, in which all others are. */
const quantum = 2

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

// Made only where one is needed, since an error keeps where it was made.
const abnormalEnd = () => new Socket.SocketError({ reason: new Socket.SocketCloseError({ code: 1006 }) })

/** A connection, and what it keeps here. */
interface Connected {
  /** Of a request that is still coming in. */
  readonly unfinishedBytes: () => number
  readonly isProved: () => boolean
  /** Answers the unfinished request, and ends. */
  readonly refuse: () => void
  /** Of answers that are not taken, and of requests that are held back meanwhile. */
  readonly untakenBytes: () => number
  /** Ends it at once. */
  readonly cut: () => void
}

/**
 * Serves the LockServer on the SocketServer that is provided, until interrupted.
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
  LockServer | Identities | SocketServer.SocketServer
> = Effect.gen(function*() {
  const server = yield* SocketServer.SocketServer
  const lockServer = yield* LockServer
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
  const admission = new Admission(limits)
  const turns = new RunQueue(clock, quantum)
  yield* Effect.forkChild(turns.run)
  let lingering = 0
  const connected = new Set<Connected>()
  let inFlightBytes = 0
  // Of the unfinished requests of those who have proved no identity.
  let unprovedBytes = 0
  // Of answers to those who have proved no identity, and of what is held back of their requests.
  let untakenBytes = 0
  // In all, of those who wait for a lock. They must leave room for the requests that they wait for.
  let waitingInAll = 0
  let waitingBytes = 0
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
  const largest = (bytesOf: (one: Connected) => number): Connected | undefined => {
    let largest: Connected | undefined
    for (const one of connected) if (bytesOf(one) > (largest === undefined ? 0 : bytesOf(largest))) largest = one
    return largest
  }
  const refuseLongest = (among: (one: Connected) => boolean): boolean => {
    const longest = largest((one) => among(one) ? one.unfinishedBytes() : 0)
    longest?.refuse()
    return longest !== undefined
  }
  // A single one may always be as long as a line may be.
  const maxUnprovedBytes = Math.max(limits.maxInFlightBytes / 4, maxUnprovedLineBytes)
  const isFlooded = () => unprovedBytes > maxUnprovedBytes
  const isOverloaded = () => inFlightBytes > limits.maxInFlightBytes
  const relieve = () => {
    while (isFlooded() && refuseLongest((one) => !one.isProved()));
    while (isOverloaded() && refuseLongest(() => true));
  }
  const cutSlowest = () => {
    while (untakenBytes > limits.maxInFlightBytes / 4) {
      const slowest = largest((one) => one.untakenBytes())
      if (slowest === undefined) return
      slowest.cut()
    }
  }

  const converse = Effect.fnUntraced(function*(socket: Socket.Socket) {
    const pull = yield* Socket.readerBytes(socket)
    const scope = yield* Effect.scope
    const writing = yield* Scope.fork(scope)
    const writer = yield* Scope.provide(socket.writer, writing)
    const framer = new Wire.Framer(maxUnprovedLineBytes)
    const answers = new LineWriter()
    const running = new Map<Fiber.Fiber<Protocol.Response>, Protocol.Request>()
    const ended = Deferred.makeUnsafe<void, Socket.SocketError>()
    // How many of them queue for a lock: they must not keep from being read what they wait for, such as its unlock.
    let waiting = 0
    let makeRoom: (() => void) | undefined
    let pendingBytes = 0
    let myUntakenBytes = 0
    let chunkBytes = 0
    let isHeldBack = false
    let isCut = false
    let isProved = false
    // No further request is taken: one without a Seq was the last, or the client has ended its side.
    let closing = false

    const countUntaken = () => {
      // A client with an identity is known, and what it has stored may be large: it has time until `writeTimeout`.
      const bytes = isCut || isProved ? 0 : answers.unsentBytes + (isHeldBack ? chunkBytes : 0)
      untakenBytes += bytes - myUntakenBytes
      myUntakenBytes = bytes
      cutSlowest()
    }

    // Ends the connection now, whatever is still to be sent.
    const destroy = Effect.ignore(writer.write(new Socket.CloseEvent(1000)))
    const timedOut = Metric.update(Metrics.timedOutConnections, 1).pipe(
      Effect.andThen(destroy),
      Effect.andThen(Effect.suspend(() => Effect.fail(abnormalEnd())))
    )
    yield* Effect.addFinalizer((exit) =>
      Effect.sync(() => {
        isCut = true
        countUntaken()
      }).pipe(
        // Whoever has gone waits for nothing any more.
        Effect.andThen(Fiber.interruptAll(running.keys())),
        // A server that is told to stop would else wait for a client that never takes its answer.
        Effect.andThen(Exit.hasInterrupts(exit) ? destroy : Effect.void)
      )
    )

    const endIfDone = () => {
      if (closing && running.size === 0 && answers.unsentBytes === 0) Deferred.doneUnsafe(ended, Effect.void)
    }
    const reply = (Seq: string | undefined, response: Protocol.Response) => {
      answers.push(JSON.stringify(Seq === undefined ? response : { ...response, Seq }))
      countUntaken()
    }

    const answer = (request: Protocol.Request, response: Protocol.Response) => {
      answered(request.Action, response.Status).updateUnsafe(1, context)
      if (request.Name !== undefined && response.Status !== "BadPayload" && response.Status !== "NO" && !isProved) {
        isProved = true
        unprovedBytes -= pendingBytes
        framer.maxLineBytes = limits.maxLineBytes
      }
      reply(request.Seq, response)
    }

    const mayWait = (bytes: number) =>
      waiting < limits.maxRunning && waitingInAll < limits.maxWaiting &&
      waitingBytes + bytes <= limits.maxInFlightBytes / (isProved ? 2 : 4)

    // Requests run side by side; most are answered before this returns.
    const start = (request: Protocol.Request, bytes: number) => {
      if (inFlightBytes + bytes > limits.maxInFlightBytes) return answer(request, { Status: "NO" })
      const waits = request.Wait !== undefined && mayWait(bytes)
      const fiber = fork(lockServer.handle(request.Wait === undefined || waits ? request : { ...request, Wait: 0 }))
      const exit = fiber.pollUnsafe()
      if (exit !== undefined) return Exit.isSuccess(exit) ? answer(request, exit.value) : undefined
      const note = (one: 1 | -1) => {
        inFlightBytes += one * bytes
        if (!waits) return
        waiting += one
        waitingInAll += one
        waitingBytes += one * bytes
      }
      running.set(fiber, request)
      note(1)
      fiber.addObserver((exit) => {
        running.delete(fiber)
        note(-1)
        if (Exit.isSuccess(exit)) answer(request, exit.value)
        makeRoom?.()
        endIfDone()
      })
    }

    // Says what is wrong with it, if something is.
    const accept = (line: Uint8Array): Protocol.BadRequest["problem"] | undefined => {
      const request = Protocol.decodeRequest(line, limits.maxJsonDepth)
      const Seq = Result.isSuccess(request) ? request.success.Seq : request.failure.Seq
      if (Seq === undefined) closing = true
      if (Result.isSuccess(request)) {
        start(request.success, line.length)
        return undefined
      }
      reply(Seq, { Status: request.failure.Status })
      return request.failure.problem
    }

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
    const mine: Connected = {
      unfinishedBytes: () => pendingBytes,
      isProved: () => isProved,
      refuse: () => {
        framer.abandon()
        count(0)
        replyToBeginning({ Status: "NO" })
      },
      untakenBytes: () => myUntakenBytes,
      cut: () => {
        isCut = true
        countUntaken()
        Deferred.doneUnsafe(ended, timedOut)
      }
    }
    connected.add(mine)
    yield* Effect.addFinalizer(() =>
      Effect.sync(() => {
        connected.delete(mine)
        count(0)
      })
    )

    // Where a client asks faster than it is answered, or takes its answers, its requests stay in the network.
    const isFull = () => running.size - waiting >= limits.maxRunning || answers.unsentBytes >= limits.maxUnsentBytes
    const room = Effect.callback<void>((resume) => {
      makeRoom = () => {
        makeRoom = undefined
        resume(Effect.void)
      }
    })

    const heldBack = Effect.gen(function*() {
      isHeldBack = true
      countUntaken()
      while (isFull()) yield* room
      yield* turns.pass
      isHeldBack = false
      countUntaken()
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

    // No generator, here and below: while it waits it would hold on to lines and chunks that are done with.
    let lines: Array<Uint8Array> = []
    const acceptDownTo = (left: number): Effect.Effect<void> =>
      Effect.suspend(() => {
        while (lines.length > left) {
          if (closing) return Effect.void
          if (isFull()) return Effect.andThen(heldBack, acceptDownTo(left))
          const problem = accept(lines.shift()!)
          if (problem !== undefined) return Effect.andThen(refuse(problem), acceptDownTo(left))
        }
        return Effect.void
      })

    const acceptRest = Effect.suspend(() => {
      relieve()
      deadline = framer.pendingBytes === 0 ? undefined : deadline ?? now() + requestMillis
      if (!framer.overflowed || closing) return Effect.void
      replyToBeginning({ Status: "BadPayload" })
      return refuse("TooLong")
    })

    const acceptAll = Effect.andThen(acceptDownTo(0), acceptRest)

    const take = (chunk: Uint8Array): Effect.Effect<void> => {
      // What comes after the last request is read only to see the client go.
      if (closing) return Effect.void
      lines = framer.push(chunk)
      chunkBytes = chunk.length
      count(framer.pendingBytes)
      if (lines.length > 0) deadline = undefined
      if (lines.length < manyLines) return acceptAll
      // The first line may have come with chunks before, and be far longer than what is of this one.
      return acceptDownTo(lines.length - 1).pipe(Effect.andThen(turns.pass), Effect.andThen(acceptAll))
    }

    const read = Effect.flatMap(
      pullInTime,
      (chunks) => chunks.length === 1 ? take(chunks[0]) : Effect.forEach(chunks, take, { discard: true })
    ).pipe(
      Effect.forever({ disableYield: true }),
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
      (blocks) =>
        Effect.timeoutOrElse(writer.writeAll(blocks), { duration: limits.writeTimeout, orElse: () => timedOut }),
      () => {
        countUntaken()
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
    Effect.flatMap(clientAddress, (address) => {
      const leave = admission.admit(address)
      if (leave === undefined) {
        return Effect.andThen(Metric.update(Metrics.refusedConnections, 1), Effect.scoped(socket.reader))
      }
      turns.welcome()
      Metrics.connections.modifyUnsafe(1, context)
      return converse(socket).pipe(
        // A client that goes away is no event: its connection is over, and that is all.
        Effect.catchTag("SocketError", () => Effect.void),
        Effect.ensuring(Effect.sync(() => {
          Metrics.connections.modifyUnsafe(-1, context)
          leave()
        }))
      )
    })
  )
})

/** Serves the LockServer in the background, as long as the layer lives. */
export const layer: Layer.Layer<never, never, LockServer | Identities | SocketServer.SocketServer> = Layer
  .effectDiscard(
    Effect.forkScoped(Effect.orDie(run))
  )
