/**
 * Takes a tenure away, by the word of somebody who may.
 *
 * By default it is renewed no more, and its name stays taken until its end: its holder may still be at work, and nobody else
 * is let in before it would have ended anyway. By force the name is free at once; then only a fence protects what it is for.
 * Whoever does it is logged, with what and why.
 */
import * as Effect from "effect/Effect"
import * as Metric from "effect/Metric"
import { monotonicMillis } from "../lib/monotonic.ts"
import { quoted } from "../lib/quoted.ts"
import type { Request, Response } from "../protocol/Protocol.ts"
import * as Protocol from "../protocol/Protocol.ts"
import { type Entry, lookOnly, type Store } from "../store/Store.ts"
import type { StoreError } from "../StoreError.ts"
import type { Notices } from "../transport/Notices.ts"
import { because } from "./Busy.ts"
import { witnessed } from "./Decided.ts"
import type { History } from "./History.ts"
import * as Metrics from "./Metrics.ts"
import { Refusals } from "./Refusals.ts"
import { type Revoked, takingAway } from "./takingAway.ts"
import type { Tenures } from "./Tenures.ts"

/** What revoking is done with. */
export interface Options {
  /** Keeps who has revoked what, and who was refused. */
  readonly history: History
  readonly tenures: Tenures | undefined
  readonly store: Store["Service"]
  /** Hears of each name of which a tenure was revoked. */
  readonly changed: (name: string) => void
  readonly notices: Notices
  /** Hears of each change of the store, how it ended. */
  readonly noted: <A>(change: Effect.Effect<A, StoreError>, name: string) => Effect.Effect<A, StoreError>
}

const utf8 = new TextEncoder()

/** Whether a revocation says why, in so many bytes. */
const isReasoned = ({ Reason = "" }: Request): boolean =>
  Reason.trim() !== "" && utf8.encode(Reason).length <= Protocol.maxReasonBytes

const tell = ({ FileName, Force, Reason }: Request, who: string, { fence, isNew }: Revoked) =>
  Effect.logWarning(
    `${who} revoked the tenure ${fence} of ${quoted(FileName)}` +
      `${Force === true ? " by force" : ""}${isNew ? "" : ", which was revoked before"}: ${quoted(Reason)}`
  ).pipe(Effect.andThen(Metric.update(Metrics.revocations("revoked"), 1)))

const fencesOf = (entry: Entry | undefined, fence: bigint | undefined): ReadonlyArray<bigint> =>
  entry === undefined || fence === undefined
    ? []
    : entry.limit === undefined
    ? [fence]
    : entry.holders.map((holder) => holder.fence)

/** Who asks without the proof of an identity. */
export const nobody = "somebody without an identity"

/** Answers a `Revoke`: `who` asks for it, and `mayRevoke`. */
export const make = ({ changed, history, noted, notices, store, tenures }: Options) => {
  const revokeOne = (request: Request, who: string) => {
    const decided = tenures?.decided()
    return Effect.flatMap(store.modify(request.FileName, witnessed(decided, takingAway(request))), (outcome) => {
      const { answer } = outcome
      if (answer === undefined) return Effect.succeed(answer)
      const { FileName, Reason = "" } = request
      // Also of one that was revoked before: the answer of the store may have been lost then, and nobody told.
      if (decided !== undefined) tenures?.revoked(request, who, answer.fence, decided, outcome)
      changed(FileName)
      notices.tell({ Status: "Notice", FileName, Fence: String(answer.fence), Reason })
      return Effect.as(tell(request, who, answer), answer)
    }).pipe(Effect.tapError(() =>
      Effect.logWarning(
        `${who} may have revoked ${quoted(request.FileName)} (${
          quoted(request.Reason)
        }): the store has failed, or not answered`
      )
    ))
  }

  // Those that are there now: what is freed by force is the next one's at once, and that is not meant.
  const revokeAll = Effect.fnUntraced(function*(request: Request, who: string) {
    const { answer: entry, fence } = yield* store.modify(request.FileName, lookOnly)
    let count = 0
    for (const meant of fencesOf(entry, fence)) {
      if ((yield* revokeOne({ ...request, Fence: String(meant) }, who)) !== undefined) count++
    }
    return count
  })

  const revoke = Effect.fnUntraced(function*(request: Request, who: string) {
    const count = request.Fence === undefined
      ? yield* noted(revokeAll(request, who), request.FileName)
      : (yield* noted(revokeOne(request, who), request.FileName)) === undefined
      ? 0
      : 1
    if (count === 0) return { Status: "NotFound" } satisfies Response
    return { Status: "Revoked", Count: String(count) } satisfies Response
  })

  const refusals = { named: new Refusals(), others: new Refusals() }
  const refuse = ({ FileName: name, Reason }: Request, who: string): Effect.Effect<void> =>
    Effect.flatMap(monotonicMillis, (now) => {
      const counted = Metric.update(Metrics.revocations("refused"), 1)
      const count = (who === nobody ? refusals.others : refusals.named).come(now)
      if (count === undefined) return counted
      history.note({ event: "Refused", name, who, reason: Reason?.slice(0, Protocol.maxReasonBytes) })
      return Effect.andThen(
        counted,
        Effect.logWarning(`${who} asked to revoke ${quoted(name)}, and may not: refused (${count} since the last line)`)
      )
    })

  return (request: Request, who: string, mayRevoke: boolean): Effect.Effect<Response> => {
    if (!mayRevoke) return Effect.as(refuse(request, who), { Status: "BadPayload" })
    return isReasoned(request)
      // Whoever asks may go meanwhile: what is done is told all the same.
      ? Effect.uninterruptible(
        Effect.match(revoke(request, who), { onFailure: because, onSuccess: (response): Response => response })
      )
      : Effect.succeed({ Status: "BadPayload" })
  }
}
