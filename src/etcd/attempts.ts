/**
 * Attempts at entries: what is guessed, sent, and understood of the answer.
 */
import type * as Clock from "effect/Clock"
import * as Effect from "effect/Effect"
import * as Result from "effect/Result"
import { monotonicMillisUnsafe } from "../lib/monotonic.ts"
import type { Case, Reply } from "../store/CompareAndSet.ts"
import type { Tenure } from "../store/Entry.ts"
import { EtcdError, isLeaseLost } from "./EtcdClient.ts"
import type { Expiry } from "./Expiry.ts"
import type { Lease, Leases } from "./Leases.ts"
import { isKnown, keyOf, operationOf, type Written, writtenBy, writtenOf } from "./operations.ts"
import type { Answer, KeyValue, Perform } from "./Transactions.ts"

/** Makes one attempt, without a lease for what it writes or with one. */
type Send = (name: string, cases: ReadonlyArray<Case>, lease: Lease | undefined) => Effect.Effect<Reply, unknown>

const isOfLostLease = (error: unknown): boolean => error instanceof EtcdError && isLeaseLost(error)

const untold: Pick<Written, "fence" | "holder"> = { fence: undefined, holder: undefined }

/** What the answers mean. */
const makeReplies = (expiry: Expiry) => {
  /** The fence in the value, if there is one, is that of the tenure; 0 is that with which the value was written. */
  const tenureOf = (
    name: string,
    { create_revision, mod_revision }: KeyValue,
    { fence, holder }: Pick<Written, "fence" | "holder">
  ): Tenure => ({
    fence: fence === undefined ? create_revision : fence === 0n ? mod_revision : fence,
    revision: mod_revision,
    expiresIn: expiry.millisLeft(name, mod_revision),
    inherited: fence !== undefined,
    holder
  })
  const made = (
    name: string,
    index: number,
    guess: Case,
    written: Written | undefined,
    responses: ReadonlyArray<Answer>,
    revision: bigint
  ): Result.Result<Reply, unknown> => {
    const { change, expected } = guess
    if (change._tag === "Remove") {
      expiry.clear(name, revision)
      return Result.succeed({ _tag: "Made", index, tenure: undefined })
    }
    if (change._tag === "Write") expiry.set(name, revision, change.ttlMillis)
    const kv: KeyValue | undefined = expected._tag === "Absent"
      ? { create_revision: revision, mod_revision: revision }
      : responses.at(-1)?.response_range?.kvs?.[0]
    if (kv === undefined) return Result.succeed({ _tag: "Made", index, tenure: undefined })
    return Result.map(
      written === undefined && kv.value !== undefined ? writtenOf(kv.value) : Result.succeed(written ?? untold),
      (known) => ({ _tag: "Made", index, tenure: tenureOf(name, kv, known) })
    )
  }
  const found = (name: string, kv: KeyValue): Result.Result<Reply, unknown> =>
    Result.map(
      writtenOf(kv.value ?? ""),
      (written): Reply => ({ _tag: "Found", entry: written.entry, tenure: tenureOf(name, kv, written) })
    )
  return { made, found }
}

/** Sends one guess, or reads. */
export const makeSend = ({ clock, expiry, perform, prefix }: {
  readonly clock: Clock.Clock
  readonly prefix: string
  readonly perform: Perform
  readonly expiry: Expiry
}): Send => {
  const { found, made } = makeReplies(expiry)
  const wall = () => clock.currentTimeMillisUnsafe()
  /** The newest revision of the store that was heard of. */
  let heard = 0n

  return (name, cases, lease) =>
    Effect.suspend(() => {
      // To leave a free name alone needs no comparison: nothing is found then.
      const changing = cases.filter((one) =>
        (one.expected._tag !== "Absent" || one.change._tag === "Write") && isKnown(one)
      )
      // The likelier one alone: the gateway reads a case once for each level of its nesting, and data would go twice.
      const guess = changing.find(({ expected }) => (expected._tag === "Absent") !== expiry.has(name)) ?? changing[0]
      const key = keyOf(prefix, name)
      const written = guess && writtenBy(guess, wall)
      const json = operationOf(key, guess, written, lease, heard)
      return Effect.flatten(perform({ key, json }, (answer, revision): Effect.Effect<Reply, unknown> => {
        if (revision > heard) heard = revision
        const { responses = [], succeeded = false } = guess === undefined
          ? { responses: [answer] }
          : answer.response_txn ?? {}
        if (guess !== undefined && succeeded) {
          return Effect.fromResult(made(name, cases.indexOf(guess), guess, written, responses, revision))
        }
        const kv = responses[0]?.response_range?.kvs?.[0]
        if (kv !== undefined) return Effect.fromResult(found(name, kv))
        const absent = cases.findIndex((one) => one.expected._tag === "Absent")
        return Effect.succeed(
          absent === -1 || cases[absent]!.change._tag === "Write"
            ? { _tag: "Free" }
            : { _tag: "Made", index: absent, tenure: undefined }
        )
      }))
    })
}

/** Makes attempts, with leases for what they write. */
export const make = (clock: Clock.Clock, leases: Leases, send: Send) => {
  const sendWithLease = (name: string, cases: ReadonlyArray<Case>, ttlMillis: number): Effect.Effect<Reply, unknown> =>
    Effect.flatMap(leases.forTtl(ttlMillis), (lease) =>
      Effect.flatMap(
        Effect.tapError(send(name, cases, lease), (error) =>
          Effect.sync(() => {
            if (isOfLostLease(error)) leases.forget(lease.id)
          })),
        (reply) => {
          if (reply._tag !== "Made") return Effect.succeed(reply)
          const { change } = cases[reply.index]!
          if (change._tag !== "Write" || lease.until - monotonicMillisUnsafe(clock) >= change.ttlMillis) {
            return Effect.succeed(reply)
          }
          // The answer came so late that the lease may end too early.
          const tenure = reply.tenure!
          const again: Case = {
            expected: { _tag: "Revision", revision: tenure.revision, tenure },
            change: { ...change, begins: false }
          }
          return Effect.map(
            sendWithLease(name, [again], change.ttlMillis),
            (second) => second._tag === "Made" ? { ...second, index: reply.index } : second
          )
        }
      ))

  return (name: string, cases: ReadonlyArray<Case>): Effect.Effect<Reply, unknown> => {
    const ttlMillis = Math.max(0, ...cases.map(({ change }) => change._tag === "Write" ? change.ttlMillis : 0))
    return ttlMillis === 0
      ? send(name, cases, undefined)
      : Effect.retry(sendWithLease(name, cases, ttlMillis), { times: 1, while: isOfLostLease })
  }
}
