/**
 * Attempts at entries: what is guessed, sent, and understood of the answer.
 */
import type * as Clock from "effect/Clock"
import * as Effect from "effect/Effect"
import * as Result from "effect/Result"
import { monotonicMillisUnsafe } from "../lib/monotonic.ts"
import type { Case, Reply } from "../store/CompareAndSet.ts"
import type { Tenure } from "../store/Entry.ts"
import * as Row from "../store/Row.ts"
import { EtcdError, isLeaseLost } from "./EtcdClient.ts"
import type { Expiry } from "./Expiry.ts"
import { boundedMillis, type Lease, type Leases } from "./Leases.ts"
import {
  endOf,
  isKnown,
  Keys,
  operationOf,
  readOf,
  type Writing,
  type Written,
  writtenBy,
  writtenOf
} from "./operations.ts"
import type { Stamps } from "./Stamps.ts"
import type { Answer, KeyValue, Perform } from "./Transactions.ts"

/** Leases for what one attempt writes. */
type Granted = Pick<Writing, "lease" | "places">

/** Makes one attempt: sends this one of the cases, or reads. */
type Send = (
  name: string,
  cases: ReadonlyArray<Case>,
  guess: Case | undefined,
  granted: Granted
) => Effect.Effect<Reply, unknown>

/** Whether something was refused since a lease is not there any more: that of what is written, or that of a stamp. */
export const isOfLostLease = (error: unknown): boolean => error instanceof EtcdError && isLeaseLost(error)

type Told = Pick<Written, "ends" | "fence" | "holder">

const untold: Told = { ends: undefined, fence: undefined, holder: undefined }

const noPlaces: Granted["places"] = new Map()
const noLeases: Granted = { lease: undefined, places: noPlaces }

/** What an attempt would do, with the likelier of its guesses. */
const guessOf = (name: string, cases: ReadonlyArray<Case>, expiry: Expiry): Case | undefined => {
  // To leave a free name alone needs no comparison: nothing is found then.
  const changing = cases.filter((one) =>
    (one.expected._tag !== "Absent" || one.change._tag === "Write") && isKnown(one)
  )
  // The likelier one alone: the gateway reads a case once for each level of its nesting, and data would go twice.
  const guess = changing.find(({ expected }) => (expected._tag === "Absent") !== expiry.has(name)) ?? changing[0]
  // None fits holders, and to read them alone costs etcd no consensus.
  return guess?.expected._tag !== "Revision" && expiry.hasPlaces(name) ? undefined : guess
}

/** Whether a case writes holders, or ends them. */
const isOfHolders = ({ change }: Case): boolean => change._tag !== "Keep" && change.gone !== undefined

/** What the answers mean. */
const makeReplies = (expiry: Expiry) => {
  /** The fence in the value, if there is one, is that of the tenure; 0 is that with which the value was written. */
  const tenureOf = (
    name: string,
    { create_revision, mod_revision }: Pick<KeyValue, "create_revision" | "mod_revision">,
    { ends, fence, holder }: Told
  ): Tenure => ({
    fence: fence === undefined ? create_revision : fence === 0n ? mod_revision : fence,
    revision: mod_revision,
    expiresIn: expiry.millisLeft(name, ends ?? mod_revision),
    inherited: fence !== undefined,
    ends,
    holder
  })
  const expect = (name: string, { gone, keepsEnd, ttlMillis, written }: Row.RowWrite, revision: bigint) => {
    // Who wrote it before ends it: see `expiring`.
    if (keepsEnd !== true) expiry.set(name, revision, ttlMillis)
    expiry.clearPlaces(name, revision, written === undefined ? undefined : gone)
    if (written !== undefined) {
      for (const [place, millis] of written) expiry.setPlace(name, place, revision, millis)
    }
  }
  const made = (
    name: string,
    index: number,
    { change, expected }: Case,
    written: Written | undefined,
    responses: ReadonlyArray<Answer>,
    revision: bigint
  ): Result.Result<Reply, unknown> => {
    if (change._tag === "Remove") {
      expiry.clear(name, revision)
      return Result.succeed({ _tag: "Made", index, tenure: undefined })
    }
    if (change._tag === "Write") expect(name, change, revision)
    // Of holders the row only has the revision of the transaction itself: each has a fence of its own.
    const isNew = expected._tag === "Absent" || (change._tag === "Write" && change.written !== undefined)
    const kv: Pick<KeyValue, "create_revision" | "mod_revision" | "value"> | undefined = isNew
      ? { create_revision: revision, mod_revision: revision }
      : responses.at(-1)?.response_range?.kvs?.[0]
    if (kv === undefined) return Result.succeed({ _tag: "Made", index, tenure: undefined })
    return Result.map(
      written === undefined && kv.value !== undefined ? writtenOf(kv.value) : Result.succeed(written ?? untold),
      (known) => ({ _tag: "Made", index, tenure: tenureOf(name, kv, known) })
    )
  }
  /** What is there, with the places that are, where they were read. */
  const found = (
    name: string,
    keys: Keys,
    [row, ...places]: readonly [KeyValue, ...ReadonlyArray<KeyValue>]
  ): Result.Result<Extract<Reply, { readonly _tag: "Found" }>, unknown> =>
    Result.map(writtenOf(row.value ?? ""), (written) => {
      const reply = { _tag: "Found", entry: written.entry, tenure: tenureOf(name, row, written) } as const
      if (!Row.hasHolders(written.entry)) {
        expiry.clearPlaces(name, row.mod_revision)
        return reply
      }
      return {
        ...reply,
        places: new Map(places.map(({ key, mod_revision }) => {
          const place = keys.placeOf(key)
          return [place, expiry.millisLeft(name, mod_revision, place)]
        }))
      }
    })
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

  const free = (name: string, cases: ReadonlyArray<Case>, revision: bigint): Reply => {
    expiry.clear(name, revision)
    const absent = cases.findIndex((one) => one.expected._tag === "Absent")
    return absent === -1 || cases[absent]!.change._tag === "Write"
      ? { _tag: "Free" }
      : { _tag: "Made", index: absent, tenure: undefined }
  }

  /** What an answer to a reading says. Of holders that were read without their places it does not say enough. */
  const read = (
    name: string,
    keys: Keys,
    cases: ReadonlyArray<Case>,
    withPlaces: boolean,
    kvs: ReadonlyArray<KeyValue>,
    revision: bigint
  ): Effect.Effect<Reply, unknown> => {
    const [row, ...places] = kvs
    // Places may outlive their name for a while.
    if (row === undefined || row.key !== keys.row) return Effect.succeed(free(name, cases, revision))
    return Effect.flatMap(
      Effect.fromResult(found(name, keys, [row, ...places])),
      (reply) =>
        reply.places === undefined || withPlaces ? Effect.succeed(reply) : Effect.flatten(
          perform(
            { key: keys.row, json: readOf(keys, true), isStamped: false },
            ({ response_range }, revision) => read(name, keys, cases, true, response_range?.kvs ?? [], revision)
          )
        )
    )
  }

  return (name, cases, guess, granted) =>
    Effect.suspend(() => {
      const keys = new Keys(prefix, name)
      const written = guess && writtenBy(guess, wall)
      const withPlaces = guess === undefined || isOfHolders(guess)
      const operation = {
        key: keys.row,
        json: operationOf(keys, guess, { ...granted, written }, withPlaces, heard),
        isStamped: guess !== undefined && guess.change._tag !== "Keep"
      }
      return Effect.flatten(perform(operation, (answer, revision): Effect.Effect<Reply, unknown> => {
        if (revision > heard) heard = revision
        const { responses = [], succeeded = false } = guess === undefined
          ? { responses: [answer] }
          : answer.response_txn ?? {}
        return guess !== undefined && succeeded
          ? Effect.fromResult(made(name, cases.indexOf(guess), guess, written, responses, revision))
          : read(name, keys, cases, withPlaces, responses[0]?.response_range?.kvs ?? [], revision)
      }))
    })
}

/**
 * Ends what was written with a revision, at a name or at one place of it: also where it was written again since, and was to
 * keep its end.
 */
export const expiring = (perform: Perform, prefix: string) =>
(
  name: string,
  revision: bigint,
  place: number | undefined
): Effect.Effect<void, EtcdError> => {
  const keys = new Keys(prefix, name)
  const end = (seen: bigint): Effect.Effect<void, EtcdError> =>
    Effect.flatMap(
      // What has ended ends rightly however late, and so needs no stamp.
      perform({ key: keys.row, json: endOf(keys, seen, place), isStamped: false }, ({ response_txn }) =>
        response_txn?.responses?.[0]?.response_range?.kvs?.[0]),
      (later) => {
        const written = later?.value === undefined ? undefined : Result.getOrUndefined(writtenOf(later.value))
        return written?.ends === revision ? end(later!.mod_revision) : Effect.void
      }
    )
  return Effect.suspend(() => end(revision))
}

/** Makes attempts, with leases for what they write. */
export const make = ({ clock, expiry, leases, send, stamps }: {
  readonly clock: Clock.Clock
  readonly leases: Leases
  readonly stamps: Stamps
  readonly expiry: Expiry
  readonly send: Send
}) => {
  /** Whether a lease lives for so long yet, as far as any can. */
  const lasts = ({ until }: Lease, millis: number) => until - monotonicMillisUnsafe(clock) >= boundedMillis(millis)

  const write = (
    name: string,
    cases: ReadonlyArray<Case>,
    guess: Case,
    change: Row.RowWrite
  ): Effect.Effect<Reply, unknown> => {
    const { keepsEnd, written } = change
    // That of the stamp is there then when it is sent.
    const ttls = [stamps.ttlMillis, ...keepsEnd === true ? [] : [change.ttlMillis], ...written?.values() ?? []]
    return Effect.flatMap(leases.forTtls(ttls), (granted) =>
      Effect.flatMap(
        Effect.tapError(
          send(name, cases, guess, {
            lease: granted[1],
            places: written === undefined
              ? noPlaces
              : new Map(Array.from(written.keys(), (place, i) => [place, granted[i + 2]!]))
          }),
          (error) =>
            Effect.sync(() => {
              if (isOfLostLease(error)) { for (const { id } of granted) leases.forget(id) }
            })
        ),
        (reply) => {
          if (reply._tag !== "Made" || cases[reply.index] !== guess) return Effect.succeed(reply)
          if (granted.every((lease, i) => i === 0 || lasts(lease, ttls[i]!))) return Effect.succeed(reply)
          // The answer came so late that a lease may end too early.
          const tenure = reply.tenure!
          const again: Case = {
            expected: { _tag: "Revision", revision: tenure.revision, tenure },
            change: { ...change, begins: false }
          }
          return Effect.map(
            write(name, [again], again, change),
            (second) => second._tag === "Made" ? { ...second, index: reply.index } : second
          )
        }
      ))
  }

  return (name: string, cases: ReadonlyArray<Case>): Effect.Effect<Reply, unknown> => {
    const attempt = Effect.suspend(() => {
      const guess = guessOf(name, cases, expiry)
      if (guess?.change._tag === "Write") return write(name, cases, guess, guess.change)
      const sent = send(name, cases, guess, noLeases)
      return guess?.change._tag === "Remove" ? Effect.andThen(leases.forTtl(stamps.ttlMillis), sent) : sent
    })
    // Once more, with another.
    return Effect.catchIf(attempt, isOfLostLease, () => attempt)
  }
}
