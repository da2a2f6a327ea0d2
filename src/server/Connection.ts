/**
 * The server's side of one connection: messages come in, their requests are worked on, and answers go out.
 *
 * A request with a `Seq` leaves the connection open for more, which are answered in any order, each with its own; after
 * the answer to one without, the connection is closed.
 */
import type { NonEmptyReadonlyArray } from "effect/Array"
import * as Deferred from "effect/Deferred"
import * as Duration from "effect/Duration"
import * as Effect from "effect/Effect"
import * as Exit from "effect/Exit"
import * as Metric from "effect/Metric"
import * as Result from "effect/Result"
import * as Scope from "effect/Scope"
import * as Socket from "effect/socket/Socket"
import { monotonicMillisUnsafe } from "../lib/monotonic.ts"
import { beginFrames, type Codec, type Cutter, frames, lines } from "../protocol/codecs.ts"
import * as Protocol from "../protocol/Protocol.ts"
import { isFinishing, Outbox } from "../transport/Outbox.ts"
import type { Account } from "./ByteBudget.ts"
import { InFlight, type Origin } from "./InFlight.ts"
import * as Metrics from "./Metrics.ts"
import type { Replaceable } from "./Sessions.ts"
import type { Shared } from "./Shared.ts"
import { SignOfLife, type Silenced } from "./SignOfLife.ts"
import type { Stoppable } from "./Stopping.ts"

/** A chunk of this many messages waits until the run queue lets it pass; one of fewer is always answered at once. */
const manyMessages = 8

// Made once for each of the few kinds, since there is one for each request.
const answeredByKind = new Map<string, Map<string, Metric.Counter<number>>>()
const answered = (
  action: Protocol.Action | "Unknown",
  status: Protocol.Response["Status"]
): Metric.Counter<number> => {
  let byStatus = answeredByKind.get(action)
  if (byStatus === undefined) answeredByKind.set(action, byStatus = new Map())
  let counter = byStatus.get(status)
  if (counter === undefined) byStatus.set(status, counter = Metrics.requests(action, status))
  return counter
}

// Made only where one is needed, since an error keeps where it was made.
const abnormalEnd = () => new Socket.SocketError({ reason: new Socket.SocketCloseError({ code: 1006 }) })

/** Ends the connection now, whatever is still to be sent. */
const destroy = (writer: Socket.Writer): Effect.Effect<void> => Effect.ignore(writer.write(new Socket.CloseEvent(1000)))

// An extension without a Seq: to a client of the reference it is an action that nobody knows.
const asReference = (received: Protocol.Received): Protocol.Received => {
  if (received.Seq !== undefined || received.Action === undefined) return received
  if (Protocol.extensions[received.Action] === undefined) return received
  const { Action: _, ...unknown } = received
  return unknown
}

type Pull = Effect.Effect<NonEmptyReadonlyArray<Uint8Array>, Socket.SocketError>

/** What the server keeps of one connection, and does with it. */
class Connection implements Account, Origin, Replaceable, Silenced, Stoppable {
  unfinishedBytes = 0
  untakenBytes = 0
  isProved = false
  readonly address: string | undefined

  private readonly shared: Shared
  private readonly pull: Pull
  private readonly writer: Socket.Writer
  /** How the client speaks: by lines, until it says otherwise. */
  private codec: Codec = lines
  private hasOfferedFrames = false
  private cutter: Cutter
  private readonly inFlight: InFlight
  private readonly answers = new Outbox()
  private readonly ended = Deferred.makeUnsafe<void, Socket.SocketError>()
  /** Messages of the chunk at hand that are not worked on yet. */
  private messages: Array<Uint8Array> = []
  private chunkBytes = 0
  private isHeldBack = false
  private isCut = false
  /** No further request is taken: one without a Seq was the last, or the client has ended its side. */
  private isClosing = false
  /** By when the request that has begun must be whole; a connection begins with one. */
  private deadline: number | undefined
  private makeRoom: (() => void) | undefined
  private readonly signOfLife: SignOfLife
  private session: string | undefined
  /** Whether it is to be told notices from its next request on: by then it has said whether frames follow. */
  private takesNotices = false
  private endNotices: (() => void) | undefined

  constructor(shared: Shared, address: string | undefined, pull: Pull, writer: Socket.Writer) {
    this.shared = shared
    this.address = address
    this.pull = pull
    this.writer = writer
    this.cutter = this.codec.cutter(shared.maxUnprovedLineBytes())
    this.inFlight = new InFlight(shared, this)
    this.deadline = this.nextDeadline()
    this.signOfLife = new SignOfLife(shared, this)
  }

  // What the budget and the requests ask of a connection

  refuseUnfinished(): void {
    this.cutter.abandon()
    this.shared.budget.setUnfinished(this, 0)
    this.replyToBeginning({ Status: "NO" })
  }

  cut(): void {
    this.isCut = true
    this.countUntaken()
    Deferred.doneUnsafe(this.ended, this.timedOut)
  }

  answer(request: Protocol.Received, response: Protocol.Response): void {
    answered(request.Action ?? "Unknown", response.Status).updateUnsafe(1, this.shared.context)
    if (request.Name !== undefined && response.Status !== "BadPayload" && response.Status !== "NO" && !this.isProved) {
      this.shared.budget.prove(this)
      this.cutter.maxBytes = this.shared.limits.maxLineBytes
    }
    // Before it is answered: what comes after the answer finds nothing of the earlier connection.
    if (request.Session !== undefined && response.Status === "Version") this.beginSession(request.Session)
    if (request.Notices !== undefined && response.Status === "Version") this.takesNotices = true
    this.reply(request.Seq, response.Status === "Version" ? this.offerFrames(response) : response)
  }

  setWaiting(waits: boolean): void {
    if (waits) this.signOfLife.watch()
    else this.signOfLife.unwatch()
  }

  isDeaf(): boolean {
    return this.isHeldBack
  }

  // A client that has all its answers is told in order that its connection ends; any other has not read for long.
  gone(): void {
    if (!this.inFlight.isEmpty || this.answers.unsentBytes > 0) return this.cut()
    this.isClosing = true
    this.endIfDone()
  }

  stop(): void {
    this.isClosing = true
    this.inFlight.answerUnsafe("Waiting")
    this.endIfDone()
  }

  hurry(): void {
    this.inFlight.answerUnsafe("All")
  }

  replace(): void {
    this.isCut = true
    this.isClosing = true
    this.countUntaken()
    Deferred.doneUnsafe(this.ended, this.reset)
    this.inFlight.interruptAllUnsafe()
  }

  requestEnded(): void {
    this.makeRoom?.()
    this.endIfDone()
  }

  // They are of the connection, and not of what answers.
  private offerFrames(version: Extract<Protocol.Response, { readonly Status: "Version" }>): Protocol.Response {
    if (version.Features === undefined) return version
    this.hasOfferedFrames = true
    return { ...version, Features: `${version.Features},frames` }
  }

  private beginSession(secret: string): void {
    this.endSession()
    this.session = secret
    this.shared.sessions.begin(secret, this)
  }

  // By the number 0, which no request of a client has that takes them.
  private beginNotices(): void {
    this.takesNotices = false
    this.endNotices ??= this.shared.lockServer.notices?.listen((notice) => this.reply("0", notice))
  }

  private endSession(): void {
    if (this.session !== undefined) this.shared.sessions.end(this.session, this)
  }

  // Answers out

  private reply(Seq: string | undefined, response: Protocol.Response): void {
    this.codec.writeResponse(response, Seq, this.answers.bytes)
    this.answers.pushed()
    this.countUntaken()
  }

  /** Of a request that does not come to its end here, the beginning may say its Seq. */
  private replyToBeginning(response: Protocol.Response): void {
    this.isClosing = true
    this.reply(this.codec.seqOfBeginning(this.cutter.beginning), response)
    this.endIfDone()
  }

  private countUntaken(): void {
    // A client with an identity is known, and what it has stored may be large: it has time until `writeTimeout`.
    const bytes = this.isCut || this.isProved
      ? 0
      : this.answers.unsentBytes + (this.isHeldBack ? this.chunkBytes : 0)
    this.shared.budget.setUntaken(this, bytes)
  }

  private readonly reset: Effect.Effect<never, Socket.SocketError> = Effect.suspend(() =>
    Effect.andThen(destroy(this.writer), Effect.suspend(() => Effect.fail(abnormalEnd())))
  )

  private readonly timedOut = Effect.andThen(Metric.update(Metrics.timedOutConnections, 1), this.reset)

  private readonly writeBlocks = (blocks: NonEmptyReadonlyArray<Uint8Array>): Effect.Effect<void, Socket.SocketError> =>
    Effect.timeoutOrElse(this.writer.writeAll(blocks), {
      duration: this.shared.limits.writeTimeout,
      orElse: () => this.timedOut
    })

  private readonly write = Effect.suspend(() =>
    this.answers.run(this.writeBlocks, {
      reuses: isFinishing(this.writer),
      written: () => {
        this.countUntaken()
        this.makeRoom?.()
        this.endIfDone()
      }
    })
  )

  // Messages in. No generator here: while it waits it would hold on to messages and chunks that are done with.

  /** Where a client asks faster than it is answered, or than it takes its answers, its requests stay in the network. */
  private get isFull(): boolean {
    return this.inFlight.isFull || this.answers.unsentBytes >= this.shared.limits.maxUnsentBytes
  }

  private readonly room = Effect.callback<void>((resume) => {
    this.makeRoom = () => {
      this.makeRoom = undefined
      resume(Effect.void)
    }
  })

  private readonly awaitRoom: Effect.Effect<void> = Effect.suspend(() =>
    this.isFull ? Effect.andThen(this.room, this.awaitRoom) : Effect.void
  )

  private setHeldBack(isHeldBack: boolean): void {
    this.isHeldBack = isHeldBack
    this.countUntaken()
  }

  private readonly heldBack = Effect.suspend(() => {
    this.setHeldBack(true)
    return this.awaitRoom.pipe(
      Effect.andThen(this.shared.runQueue.pass),
      Effect.andThen(Effect.sync(() => this.setHeldBack(false)))
    )
  })

  /** Works on the messages of the chunk at hand, until only this many are left. */
  private acceptDownTo(left: number): Effect.Effect<void> {
    return Effect.suspend(() => {
      while (this.messages.length > left) {
        if (this.isClosing) return Effect.void
        if (this.isFull) return Effect.andThen(this.heldBack, this.acceptDownTo(left))
        const problem = this.accept(this.messages.shift()!)
        if (problem !== undefined) {
          return Effect.andThen(this.shared.badRequests.note(problem), this.acceptDownTo(left))
        }
      }
      return Effect.void
    })
  }

  /** Works on a message. Says what is wrong with it, if something is. */
  private accept(message: Uint8Array): Protocol.BadRequest["problem"] | undefined {
    if (this.takesNotices) this.beginNotices()
    const request = this.codec.readRequest(message, this.shared.limits.maxJsonDepth)
    const Seq = Result.isSuccess(request) ? request.success.Seq : request.failure.Seq
    if (Seq === undefined) this.isClosing = true
    if (Result.isFailure(request)) {
      this.reply(Seq, { Status: request.failure.Status })
      return request.failure.problem
    }
    const received = asReference(request.success)
    this.inFlight.start(received, message.length)
    return received.Action === undefined ? "Action" : undefined
  }

  /** Works on what comes after the last whole message of the chunk at hand. */
  private readonly acceptRest = Effect.suspend(() => {
    this.shared.budget.relieve()
    this.deadline = this.cutter.pendingBytes === 0 ? undefined : this.deadline ?? this.nextDeadline()
    if (!this.cutter.overflowed || this.isClosing) return Effect.void
    this.replyToBeginning({ Status: "BadPayload" })
    return this.shared.badRequests.note("TooLong")
  })

  private readonly acceptAll = Effect.andThen(this.acceptDownTo(0), this.acceptRest)

  private readonly take = (chunk: Uint8Array): Effect.Effect<void> => {
    this.signOfLife.heard()
    // What comes after the last request is read only to see the client go.
    if (this.isClosing) return Effect.void
    this.messages = this.messagesIn(chunk)
    this.chunkBytes = chunk.length
    this.shared.budget.setUnfinished(this, this.cutter.pendingBytes)
    if (this.messages.length > 0) this.deadline = undefined
    if (this.messages.length < manyMessages) return this.acceptAll
    // The first may have come with chunks before, and be far longer than what is of this one.
    return this.acceptDownTo(this.messages.length - 1).pipe(
      Effect.andThen(this.shared.runQueue.pass),
      Effect.andThen(this.acceptAll)
    )
  }

  /**
   * A client that knows of frames, and has all its answers, may say where a line would begin that frames follow. No line
   * begins so; another protocol may, and gets no frames.
   */
  private messagesIn(chunk: Uint8Array): Array<Uint8Array> {
    const isBeginning = chunk[0] === beginFrames && this.codec === lines && this.cutter.pendingBytes === 0
    if (!isBeginning || !this.hasOfferedFrames || !this.inFlight.isEmpty) return this.cutter.push(chunk)
    this.codec = frames
    this.cutter = frames.cutter(this.cutter.maxBytes)
    return this.cutter.push(chunk.subarray(1))
  }

  private now(): number {
    return monotonicMillisUnsafe(this.shared.clock)
  }

  private nextDeadline(): number {
    return this.now() + Duration.toMillis(this.shared.limits.requestTimeout)
  }

  private readonly pullInTime = Effect.suspend(() =>
    this.deadline === undefined || this.isClosing ? this.pull : Effect.timeoutOrElse(this.pull, {
      duration: Duration.millis(Math.max(0, this.deadline - this.now())),
      orElse: () => this.timedOut
    })
  )

  private readonly read = Effect.flatMap(
    this.pullInTime,
    (chunks) => chunks.length === 1 ? this.take(chunks[0]) : Effect.forEach(chunks, this.take, { discard: true })
  ).pipe(
    Effect.forever({ disableYield: true }),
    Effect.catchTag("SocketError", (error) => {
      if (error.reason._tag !== "SocketCloseError" || error.reason.code !== 1000) return Effect.fail(error)
      // The client has ended its side: it gets what it asked for, unless it would have to be waited for.
      this.isClosing = true
      return Effect.andThen(this.inFlight.interruptWaiting, Effect.sync(() => this.endIfDone()))
    }),
    Effect.andThen(Effect.never)
  )

  // The end

  private endIfDone(): void {
    if (this.isClosing && this.inFlight.isEmpty && this.answers.unsentBytes === 0) {
      Deferred.doneUnsafe(this.ended, Effect.void)
    }
  }

  /** Lets go of all that the connection keeps. */
  release(exit: Exit.Exit<unknown, unknown>): Effect.Effect<void> {
    return Effect.sync(() => {
      this.isCut = true
      this.shared.budget.delete(this)
      this.shared.stopping.delete(this)
      this.endSession()
      this.endNotices?.()
      this.signOfLife.end()
    }).pipe(
      // A client that has gone waits for nothing any more.
      Effect.andThen(this.inFlight.interruptAll),
      // A server that is told to stop would else wait for a client that never takes its answer.
      Effect.andThen(Exit.hasInterrupts(exit) ? destroy(this.writer) : Effect.void)
    )
  }

  /** Serves the client until the last answer is written, and fails where the connection ends before. */
  readonly run: Effect.Effect<void, Socket.SocketError> = Effect.suspend(() =>
    Effect.raceAllFirst([this.write, this.read, Deferred.await(this.ended)])
  )

  /** Where a message was given up in its middle: ends the server's side, and reads on for a while. */
  readOn(endWriting: Effect.Effect<void>): Effect.Effect<void, Socket.SocketError> {
    return this.cutter.overflowed
      ? this.shared.lingering.readOn(this.pull, endWriting, this.timedOut)
      : Effect.void
  }
}

/** Serves the client at the other end of a socket, until the connection ends. */
export const serve: (
  shared: Shared,
  socket: Socket.Socket,
  address: string | undefined
) => Effect.Effect<void, Socket.SocketError> = Effect
  .fnUntraced(function*(shared: Shared, socket: Socket.Socket, address: string | undefined) {
    const pull = yield* Socket.readerBytes(socket)
    // The writing side ends by itself where the connection lingers.
    const writing = yield* Scope.fork(yield* Effect.scope)
    const writer = yield* Scope.provide(socket.writer, writing)
    const connection = new Connection(shared, address, pull, writer)
    shared.budget.add(connection)
    shared.stopping.add(connection)
    yield* Effect.addFinalizer((exit) => connection.release(exit))
    yield* connection.run
    shared.stopping.delete(connection)
    yield* connection.readOn(Scope.close(writing, Exit.void))
  }, Effect.scoped)
