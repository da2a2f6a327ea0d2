/**
 * The spans of those who hold a name, and of those who wait for it.
 *
 * The span of a holder is the one within which it has acquired: it lasts as long as what runs under the lock. It travels
 * with the request, as OpenTelemetry names a span, and comes back to whoever waits. Where there is no span, or one that
 * nobody records, there is nothing here, and nothing is sent.
 */
import type * as Clock from "effect/Clock"
import * as Option from "effect/Option"
import * as Tracer from "effect/Tracer"
import type { Holder } from "../DlmError.ts"
import { note } from "../lib/tracing.ts"
import * as patterns from "../protocol/patterns.ts"

/** A span as it travels: nothing where its numbers are not those of OpenTelemetry. */
export const traceOf = (span: Tracer.AnySpan | undefined): string | undefined => {
  if (span === undefined) return undefined
  const trace = `${span.traceId}-${span.spanId}`
  return patterns.trace.test(trace) ? trace : undefined
}

/** The span of a holder that has acquired in a span of ours. One that is of another process, or over, hears of nothing. */
export const holderOf = (acquisition: Tracer.Span): Tracer.Span => {
  const parent = Option.getOrUndefined(acquisition.parent)
  return parent?._tag === "Span" && parent.status._tag === "Started" ? parent : acquisition
}

/** A span that is recorded, by this process. */
export const recorded = (span: Tracer.AnySpan | undefined): Tracer.Span | undefined =>
  span?._tag === "Span" && span.sampled ? span : undefined

const linkTo = (name: string, trace: string, label: string | undefined): Tracer.SpanLink => {
  const [traceId = "", spanId = ""] = trace.split("-")
  return {
    span: Tracer.externalSpan({ traceId, spanId }),
    attributes: { name, ...(label === undefined ? undefined : { label }) }
  }
}

/** What an acquisition tells its span. */
export class AcquisitionSpan {
  private readonly span: Tracer.Span
  private readonly clock: Clock.Clock
  /** The span of the holder to be. */
  readonly holder: Tracer.Span
  /** The same, as it travels. */
  readonly trace: string | undefined

  constructor(span: Tracer.Span, clock: Clock.Clock) {
    this.span = span
    this.clock = clock
    this.holder = holderOf(span)
    this.trace = traceOf(this.holder)
  }

  /** It stood in a line: that of its process, or of the server, for so many milliseconds until now. */
  queued(behind: "this process" | "others", millis = 0): void {
    const at = this.clock.currentTimeNanosUnsafe() - BigInt(Math.round(millis * 1e6))
    note(this.span, this.clock, "dlm.queued", { behind, ...(millis === 0 ? {} : { waited: Math.round(millis) }) }, at)
  }

  granted(fence: Option.Option<bigint>): void {
    note(this.span, this.clock, "dlm.granted", Option.isSome(fence) ? { fence: String(fence.value) } : {})
  }

  /** Whom it waited for last, as far as that is known. One that waited for itself waited for nobody. */
  waitedFor(name: string, holder: Pick<Holder, "label" | "trace"> | undefined): void {
    if (holder?.trace === undefined || holder.trace === this.trace) return
    this.span.addLinks([linkTo(name, holder.trace, holder.label)])
  }
}

/** More is not told of one lease, so that the span of one that is held for days has an end. */
const maxTold = 100

/** What a lease tells the span of its holder: of so much, and of its loss always. */
export class LeaseSpan {
  private readonly span: Tracer.Span
  /** The same, as it travels. */
  readonly trace: string | undefined
  /** How long it was waited for, in milliseconds; nothing of one that goes on elsewhere. */
  readonly waited: number | undefined
  private told = 0

  constructor(span: Tracer.Span, waited: number | undefined) {
    this.span = span
    this.waited = waited
    this.trace = traceOf(span)
  }

  renewed(clock: Clock.Clock): void {
    this.tell(clock, "dlm.renewed")
  }

  suspect(clock: Clock.Clock): void {
    this.tell(clock, "dlm.suspect")
  }

  lost(clock: Clock.Clock, reason: string): void {
    note(this.span, clock, "dlm.lost", { reason })
  }

  private tell(clock: Clock.Clock, event: string): void {
    if (this.told < maxTold) note(this.span, clock, event, ++this.told === maxTold ? { last: true } : {})
  }
}
