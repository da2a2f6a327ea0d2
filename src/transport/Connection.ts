/**
 * One connection that carries many requests: pipelined, answered in any order, matched by their `Seq`.
 */
import type * as Clock from "effect/Clock"
import * as Effect from "effect/Effect"
import type * as Socket from "effect/socket/Socket"
import { ProtocolError, type TalkError, type TransportError } from "../DlmError.ts"
import { monotonicMillisUnsafe } from "../lib/monotonic.ts"
import type { Request, Response } from "../protocol/Protocol.ts"
import * as Protocol from "../protocol/Protocol.ts"
import type { Framer } from "../protocol/Wire.ts"
import { failure } from "./failure.ts"
import { LineWriter } from "./LineWriter.ts"

interface Pending {
  readonly request: Request
  readonly resume: (answer: Effect.Effect<Response, TalkError>) => void
  readonly sentAt: number
  readonly deadline: number
}

/** How often silence is looked at while an answer is awaited, in milliseconds. */
const tick = 250
/** After so long a silence the other side is asked for a sign of life. */
const pingAfter = 2_000
/** After so long without one it is taken to be gone, unless answers may take no longer anyway. */
const goneAfter = 5_000

/** Of the requests that wait for an answer, one in so many is gathered: the other side works on the rest meanwhile. */
const gatheredShare = 4

const ping: Request = { ID: "", FileName: "", Action: "Version", Expire: 0 }

export class Connection {
  private readonly pending = new Map<string, Pending>()
  // Where many ask, an answer that comes alone must not be followed by a request alone, and that by an answer alone: each
  // would cost both sides a system call.
  private readonly outbox = new LineWriter((lines) => lines * gatheredShare >= this.pending.size)
  private readonly clock: Clock.Clock
  private readonly framer: Framer
  private readonly pull: Effect.Effect<ReadonlyArray<Uint8Array>, Socket.SocketError>
  private readonly writer: Socket.Writer
  private readonly answerTimeout: number
  private lastSeq = 0
  private heardAt: number
  private pinged = false
  private wakeWatch: (() => void) | undefined
  /** False once nothing can be asked any more. */
  open = true

  constructor(options: {
    readonly clock: Clock.Clock
    readonly framer: Framer
    readonly pull: Effect.Effect<ReadonlyArray<Uint8Array>, Socket.SocketError>
    readonly writer: Socket.Writer
    readonly answerTimeout: number
  }) {
    this.clock = options.clock
    this.framer = options.framer
    this.pull = options.pull
    this.writer = options.writer
    this.answerTimeout = options.answerTimeout
    this.heardAt = monotonicMillisUnsafe(options.clock)
  }

  /** Asks, and waits for the answer. Interrupting it forgets the request, whose answer is then ignored. */
  ask(request: Request): Effect.Effect<Response, TalkError> {
    return Effect.callback((resume) => {
      if (!this.open) return resume(Effect.fail(failure(request, "Closed")))
      const Seq = this.send(request, resume)
      return Effect.sync(() => {
        this.pending.delete(Seq)
      })
    })
  }

  // Noting who waits and sending are one step, so no answer can find nobody.
  private send(request: Request, resume: Pending["resume"]): string {
    // mutant: number-never-used-again
    const Seq = String(++this.lastSeq)
    const sentAt = monotonicMillisUnsafe(this.clock)
    if (this.pending.size === 0) this.heardAt = sentAt
    this.pending.set(Seq, { request, resume, sentAt, deadline: sentAt + this.answerTimeout + (request.Wait ?? 0) })
    this.outbox.push(Protocol.stringifyRequest({ ...request, Seq }))
    this.wakeWatch?.()
    return Seq
  }

  /** Reads, writes and watches until the connection ends, and then fails whoever still waits. */
  readonly run: Effect.Effect<void> = Effect.suspend(() =>
    Effect.raceAllFirst([this.read, this.write, this.watch]).pipe(
      Effect.catch((error) => Effect.sync(() => this.close("Closed", error))),
      Effect.ensuring(Effect.sync(() => this.close("Closed")))
    )
  )

  private readonly write = Effect.suspend(() => this.outbox.run((blocks) => this.writer.writeAll(blocks)))

  private readonly read = Effect.gen({ self: this }, function*() {
    while (this.open) {
      for (const chunk of yield* this.pull) {
        this.heardAt = monotonicMillisUnsafe(this.clock)
        this.pinged = false
        for (const line of this.framer.push(chunk)) this.receive(line)
        if (this.framer.overflowed) this.close("Closed")
      }
    }
  })

  private receive(line: Uint8Array): void {
    const decoded = Protocol.decodeResponse(line)
    if (decoded._tag === "Failure") return this.refuse(decoded.failure.received)
    const { Seq, ...response } = decoded.success
    // Without a number it belongs to nobody, so nothing that follows can be trusted.
    if (Seq === undefined) return this.refuse(Protocol.excerpt(JSON.stringify(response)))
    // mutant: answer-by-number
    const pending = this.pending.get(Seq)
    if (pending === undefined) return
    this.pending.delete(Seq)
    pending.resume(Effect.succeed(response as Response))
  }

  private refuse(received: string): void {
    const only = this.pending.size === 1 ? this.pending.values().next().value : undefined
    if (only !== undefined) {
      this.pending.clear()
      only.resume(
        Effect.fail(
          new ProtocolError({ name: only.request.FileName, action: only.request.Action, received })
        )
      )
    }
    this.close("Closed")
  }

  /** Fails whoever waits, and lets nobody ask any more. */
  private close(reason: TransportError["reason"], cause?: unknown): void {
    this.open = false
    const read = this.framer.pending()
    const received = read.length === 0 ? undefined : Protocol.excerpt(read)
    const waiting = Array.from(this.pending.values())
    this.pending.clear()
    // mutant: end-told-to-waiters
    for (const { request, resume } of waiting) resume(Effect.fail(failure(request, reason, { cause, received })))
  }

  // Only while somebody waits: silence is no fault of a connection that nobody uses.
  private readonly watch = Effect.gen({ self: this }, function*() {
    const gone = Math.min(goneAfter, this.answerTimeout)
    while (this.open) {
      if (this.pending.size === 0) {
        yield* Effect.callback<void>((resume) => {
          if (this.pending.size > 0) return resume(Effect.void)
          this.wakeWatch = () => {
            this.wakeWatch = undefined
            resume(Effect.void)
          }
        })
      }
      yield* Effect.sleep(tick)
      const now = monotonicMillisUnsafe(this.clock)
      const silence = now - this.heardAt
      for (const [Seq, { deadline, request, resume, sentAt }] of this.pending) {
        if (now < deadline) continue
        this.pending.delete(Seq)
        resume(Effect.fail(failure(request, "AnswerTimeout")))
        // Not a word since it was asked: the other side may be gone for good.
        if (this.heardAt <= sentAt) this.open = false
      }
      if (!this.open || (this.pinged && silence >= pingAfter + gone)) return this.close("AnswerTimeout")
      if (!this.pinged && this.pending.size > 0 && silence >= pingAfter) {
        this.send(ping, () => {})
        this.pinged = true
      }
    }
  })
}
