/**
 * One connection that carries many requests: pipelined, answered in any order, matched by their `Seq`.
 *
 * - Each request ends: with its answer, or with a typed error by its time. `Wait` is sent, and counted in that time, only
 *   where the server named `wait`; what the server would misunderstand is not sent at all.
 * - Interrupting a request ends it at once. It counts as unanswered until its answer comes, so that requests with short
 *   time-outs cannot hide that the other side is gone.
 * - The connection lives by evidence: bytes since the oldest unanswered request that does not wait. Where they are missing
 *   the other side is asked for a sign of life, and given up without one. While a request waits, a sign of life goes to the
 *   other side too.
 * - A connection that nobody has used for a minute is closed, before the server does so.
 * - A connection that is given up (silent, not of the protocol, with an answer without end) is reset.
 * - Whatever listeners throw, and whatever the other side sends, hurts no other request and no loop.
 */
import type * as Clock from "effect/Clock"
import type * as Context from "effect/Context"
import * as Effect from "effect/Effect"
import type { TalkError, TransportError } from "../DlmError.ts"
import { monotonicMillisUnsafe } from "../lib/monotonic.ts"
import type { Codec } from "../protocol/codecs.ts"
import type { Feature, Request, Response } from "../protocol/Protocol.ts"
import * as Protocol from "../protocol/Protocol.ts"
import { failure, notOfTheProtocol } from "./failure.ts"
import * as Features from "./features.ts"
import type { Notices } from "./Notices.ts"
import type { Opened } from "./Opening.ts"
import { isFinishing, Outbox } from "./Outbox.ts"
import { type Resume, tell } from "./tell.ts"
import { Unanswered } from "./Unanswered.ts"

/** A request without an answer. */
interface Asked {
  request: Request
  /** Nothing once nobody waits for it any more. */
  resume: Resume<Response, TalkError> | undefined
  readonly waits: boolean
  readonly sentAt: number
  readonly deadline: number
}

/** How often the connection is looked at while an answer is missing, in milliseconds: so late may a deadline be. */
const tick = 250
/** After so long a silence the other side is asked for a sign of life: a server of ours answers most things far sooner. */
const pingAfter = 1_000
/**
 * So long after that question the other side is taken to be gone. With `pingAfter` it leaves a lease of 8 seconds, which is
 * renewed after a third of it, the time for one more request; a server that stands still for less is not left.
 */
const goneAfter = 3_000
/** While a request waits, something is sent so often: a server may take a waiter that is silent for 15 s for gone. */
const signOfLifeEvery = 2_000

/**
 * After so long without a request the connection is closed, in milliseconds; the next request opens another. A server may
 * close one that is silent for longer, and a request that is on its way then would fail.
 */
const closeAfter = 60_000

/** Of the requests that wait for an answer, the share that is gathered: the other side works on the rest meanwhile. */
const gatheredShare = 2

const ping: Request = { ID: "", FileName: "", Action: "Version", Expire: 0 }

const nobody = () => {}

/** A connection that is open, until it is not. */
export class Connection {
  private readonly unanswered = new Unanswered<Asked>()
  // Where many ask, an answer that comes alone must not be followed by a request alone, and that by an answer alone: each
  // would cost both sides a system call.
  private readonly outbox = new Outbox((requests) => requests * gatheredShare >= this.unanswered.size)
  private readonly codec: Codec
  private first: number | undefined
  private readonly notices: Notices
  private readonly opened: Opened
  private readonly clock: Clock.Clock
  private readonly context: Context.Context<never>
  private readonly answerTimeout: number
  private readonly knowsWait: boolean
  private lastSentAt = 0
  /** When bytes last came, and when an answer that was asked for did. */
  private heardAt = -Infinity
  private answeredAt = -Infinity
  /** When a sign of life was asked for, if nothing has been heard since. */
  private pingedAt: number | undefined
  private wakeWatch: (() => void) | undefined
  private endedBy: TransportError["phase"] = "Closed"
  /** False once nothing can be asked any more. */
  open = true
  /** What the server named on this connection. */
  readonly features: ReadonlySet<Feature>

  constructor(options: {
    readonly opened: Opened
    /** A byte that is sent before the first request. */
    readonly first?: number | undefined
    readonly features: ReadonlySet<Feature>
    /** Hears what the server tells without having been asked. */
    readonly notices: Notices
    readonly answerTimeout: number
    readonly clock: Clock.Clock
    readonly context: Context.Context<never>
  }) {
    this.opened = options.opened
    this.codec = options.opened.codec
    this.first = options.first
    this.features = options.features
    this.notices = options.notices
    this.knowsWait = options.features.has("wait")
    this.answerTimeout = options.answerTimeout
    this.clock = options.clock
    this.context = options.context
  }

  /** Asks, and waits for the answer. */
  ask(request: Request): Effect.Effect<Response, TalkError> {
    return Effect.callback((resume) => this.begin(request, resume))
  }

  /** Asks, and gives what forgets the question. */
  begin(request: Request, resume: Resume<Response, TalkError>): Effect.Effect<void> | void {
    if (!this.open) return resume(Effect.fail(failure(request, this.endedBy)))
    if (!Features.allow(this.features, request)) return resume(Effect.fail(failure(request, "Closed")))
    const number = this.send(request, resume)
    return Effect.sync(() => this.forget(number))
  }

  // Noting who waits and sending are one step, so no answer can find nobody.
  private send(asked: Request, resume: Resume<Response, TalkError>): number {
    const request = asked.Wait === undefined || this.knowsWait ? asked : Features.withoutWait(asked)
    const sentAt = monotonicMillisUnsafe(this.clock)
    this.lastSentAt = sentAt
    const number = this.unanswered.add({
      request,
      resume,
      waits: Features.waits(request),
      sentAt,
      deadline: sentAt + this.answerTimeout + (request.Wait ?? 0)
    })
    if (this.first !== undefined) this.sayFirst(this.first)
    this.codec.writeRequest(request, number, this.outbox.bytes)
    this.outbox.pushed()
    this.wakeWatch?.()
    return number
  }

  private sayFirst(first: number): void {
    const { bytes } = this.outbox
    bytes.reserve(1)
    bytes.bytes[bytes.used++] = first
    this.first = undefined
  }

  private forget(number: number): void {
    const one = this.unanswered.get(number)
    if (one === undefined) return
    // The answer to one that waits says nothing of the connection, and may be an hour away.
    if (one.waits) this.unanswered.delete(number)
    else {
      one.resume = undefined
      one.request = ping
    }
  }

  /** Reads, writes and watches until the connection ends, and then fails the requests that still wait. */
  readonly run: Effect.Effect<void> = Effect.suspend(() =>
    Effect.raceAllFirst([this.read, this.write, this.watch]).pipe(
      Effect.catch((error) => Effect.sync(() => this.end("Closed", error))),
      Effect.ensuring(Effect.sync(() => this.end("Closed")))
    )
  )

  private readonly write = Effect.suspend(() => {
    const { writer } = this.opened
    return this.outbox.run((blocks) => writer.writeAll(blocks), { reuses: isFinishing(writer) })
  })

  private readonly read = Effect.gen({ self: this }, function*() {
    const { cutter, pull } = this.opened
    while (this.open) {
      for (const chunk of yield* pull) {
        this.heardAt = monotonicMillisUnsafe(this.clock)
        this.pingedAt = undefined
        for (const message of cutter.push(chunk)) {
          // What follows something that is no answer cannot be trusted.
          if (!this.open) return
          this.receive(message)
        }
        if (cutter.overflowed) this.giveUp("Closed")
      }
    }
  })

  private receive(message: Uint8Array): void {
    const decoded = this.codec.readResponse(message)
    if (decoded._tag === "Failure") return this.refuse(decoded.failure.received)
    const { number, response } = decoded.success
    if (response.Status === "Notice") return this.notices.tell(response)
    // Without a number it is an answer to nobody.
    if (number === undefined) return this.refuse(Protocol.excerpt(JSON.stringify(response)))
    // mutant: answer-by-number
    const one = this.unanswered.get(number)
    if (one === undefined) return
    this.answeredAt = this.heardAt
    this.unanswered.delete(number)
    if (one.resume !== undefined) tell(this.context, one.resume, Effect.succeed(response))
  }

  private refuse(received: string): void {
    const only = this.unanswered.size === 1 ? this.unanswered.take()[0] : undefined
    this.giveUp("Closed")
    if (only?.resume === undefined) return
    tell(this.context, only.resume, Effect.fail(notOfTheProtocol(only.request, received)))
  }

  // Reset before anybody is told, and may ask again: what is unsent must not come after the repeat.
  private giveUp(phase: TransportError["phase"]): void {
    this.opened.reset()
    this.end(phase)
  }

  /** Ends it because the Talker is released. What has not left by now has no time left to. */
  release(): void {
    if (!this.open) return
    this.endedBy = "Released"
    if (this.outbox.unsentBytes > 0) this.giveUp("Released")
    else this.end("Released")
  }

  /** Fails the requests that wait, and lets nobody ask any more. */
  private end(reason: TransportError["phase"], cause?: unknown): void {
    this.open = false
    const read = this.opened.cutter.pending()
    const received = read.length === 0 ? undefined : this.codec.excerpt(read)
    // mutant: end-told-to-waiters
    for (const one of this.unanswered.take()) this.fail(one, reason, { cause, received })
  }

  private fail({ request, resume }: Asked, ...about: [TransportError["phase"], details?: object]): void {
    if (resume !== undefined) tell(this.context, resume, Effect.fail(failure(request, ...about)))
  }

  // Only while an answer is missing: silence is no fault of a connection that nobody uses.
  private readonly watch = Effect.gen({ self: this }, function*() {
    let isExcused = false
    while (this.open) {
      if (this.unanswered.size === 0) yield* Effect.timeoutOption(this.awaitRequest, closeAfter)
      // One that came as the time ended is not lost.
      if (this.unanswered.size === 0) return this.end("Closed")
      const before = monotonicMillisUnsafe(this.clock)
      yield* Effect.sleep(tick)
      const now = monotonicMillisUnsafe(this.clock)
      // This process stood still: the silence was its own, and what has come in meanwhile is read first.
      if (now - before > 2 * tick && !isExcused) {
        isExcused = true
        if (this.pingedAt !== undefined) this.pingedAt += now - before - tick
      } else {
        isExcused = false
        this.look(now)
      }
    }
  })

  private readonly awaitRequest = Effect.callback<void>((resume) => {
    if (this.unanswered.size > 0) return resume(Effect.void)
    this.wakeWatch = () => {
      this.wakeWatch = undefined
      resume(Effect.void)
    }
    return Effect.sync(() => {
      this.wakeWatch = undefined
    })
  })

  private look(now: number): void {
    let silentSince = Infinity
    let waits = false
    const late: Array<number> = []
    for (const [number, one] of this.unanswered) {
      if (now >= one.deadline) late.push(number)
      else if (one.waits) waits = true
      else silentSince = Math.min(silentSince, Math.max(one.sentAt, this.heardAt))
    }
    const isGone = this.pingedAt !== undefined && now - this.pingedAt >= goneAfter
    // Nothing has been answered since one was sent whose time is over: the others would have to wait for as long.
    const isDeaf = late.some((number) => this.answeredAt <= this.unanswered.get(number)!.sentAt)
    if (isDeaf || isGone) return this.giveUp("AnswerTimeout")
    for (const number of late) {
      const one = this.unanswered.get(number)
      this.unanswered.delete(number)
      if (one !== undefined) this.fail(one, "AnswerTimeout")
    }
    const isSilent = this.pingedAt === undefined && now - silentSince >= pingAfter
    if (isSilent || (waits && now - this.lastSentAt >= signOfLifeEvery)) {
      this.send(ping, nobody)
      this.pingedAt ??= now
    }
  }
}
