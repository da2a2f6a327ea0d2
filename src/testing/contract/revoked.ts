/**
 * The laws of a tenure that is revoked: all of it stays but the identity of its holder, so that nobody can touch it, and
 * it ends when it would have ended.
 */
import * as Clock from "effect/Clock"
import * as Duration from "effect/Duration"
import * as Effect from "effect/Effect"
import { monotonicMillis } from "../../lib/monotonic.ts"
import type { Decision, Mutex, Outcome, Write } from "../../store/Store.ts"
import { admit, admitted, expectHolders, readPermits, renew, share } from "./holders.ts"
import { entryOf, expect, type Given, type Instance, isFree, law, long, read, remove, type Rule, show } from "./Rule.ts"

const identity = "\u0001revoked:me:it hangs"

/** Writes an entry as it was found, with another identity. */
const revoke = (store: Instance, name: string, more: Partial<Write> = {}) =>
  store.modify(name, (found): Decision<boolean> =>
    found?.owner === undefined
      ? { answer: false, change: { _tag: "Keep" } }
      : {
        answer: true,
        change: { _tag: "Write", entry: { ...found, identity }, ttlMillis: 1, keepsEnd: true, ...more }
      })

/** Writes the holders of these owners as they were found, with another identity. */
const revokeHolders = (store: Instance, name: string, owners: ReadonlyArray<string>) =>
  share(store, name, ({ holders }) => ({
    holders: holders.map((one) => owners.includes(one.owner) ? { ...one, identity, endsIn: 1, keepsEnd: true } : one)
  }))

/** What is asked of a tenure before it ends may need longer than the shortest that a store keeps. */
const timeOf = ({ ttl }: Given): number => Math.max(ttl, 1000)

const sleepUntil = (at: number) =>
  Effect.flatMap(monotonicMillis, (now) => Effect.sleep(Duration.millis(Math.max(0, Math.ceil(at - now)))))

/** Fails unless something is there until a tenure ends that began between these two times, and is not there later. */
const expectEnd = Effect.fnUntraced(function*(
  isThere: Effect.Effect<boolean, unknown>,
  given: Given,
  [before, after]: readonly [before: number, after: number]
) {
  const [ttl, { late }] = [timeOf(given), given]
  let now = before
  while (now < before + ttl) {
    const there = yield* isThere
    now = yield* monotonicMillis
    // A store may count in whole milliseconds.
    yield* expect(
      there || now >= before + ttl - 1,
      `what had ${ttl} ms, and was revoked, was gone after ${now - before}`
    )
    yield* Effect.sleep(Duration.millis(Math.max(1, Math.round(ttl / 50))))
  }
  yield* sleepUntil(after + ttl + late)
  yield* expect(!(yield* isThere), `what had ${ttl} ms, and was revoked, was there ${late} ms after its end`)
})

/** What happens, and when it began and had ended. */
const timed = <A, E>(self: Effect.Effect<A, E>) =>
  Effect.gen(function*() {
    const before = yield* monotonicMillis
    const value = yield* self
    return { value, times: [before, yield* monotonicMillis] as const }
  })

const take = (store: Instance, name: string, entry: Mutex, ttlMillis: number, label?: string) =>
  store.modify(
    name,
    (): Decision<undefined> => ({ answer: undefined, change: { _tag: "Write", entry, ttlMillis, label } }),
    { owner: entry.owner, identity: entry.identity, waits: false }
  )

const tenureOf = ({ fence, holder }: Outcome<unknown>): string =>
  JSON.stringify([String(fence), holder?.label, holder?.since])

/** Fails unless the tenure is the same, and its owner and data, at each of these instances. */
const expectRevoked = Effect.fnUntraced(function*(
  stores: ReadonlyArray<Instance>,
  name: string,
  before: Outcome<unknown>,
  { data, owner }: Mutex
) {
  for (const store of stores) {
    const seen = yield* read(store, name)
    yield* expect(tenureOf(seen) === tenureOf(before), `${tenureOf(before)} became ${tenureOf(seen)} as it was revoked`)
    const { answer } = seen
    yield* expect(
      answer?.owner === owner && answer.data === data && answer.identity === identity,
      `${show(answer)} is there of what was revoked`
    )
  }
})

const mutexLaws: ReadonlyArray<Rule> = [
  law("a tenure that is revoked keeps its fence, label, data and end", (store, name, given) =>
    Effect.gen(function*() {
      for (const ttlMillis of [1, long]) {
        const entry = entryOf("owner", ttlMillis === 1 ? "data" : undefined, "me")
        const { times, value: taken } = yield* timed(take(store, name, entry, timeOf(given), "label"))
        const before = yield* read(store, name)
        yield* Effect.sleep(Duration.millis(Math.ceil(timeOf(given) / 3)))
        const revoked = yield* revoke(store, name, { ttlMillis })
        yield* expect(
          revoked.answer && revoked.revision! > taken.revision!,
          `revision ${revoked.revision} came after ${taken.revision} as it was revoked`
        )
        yield* expect(revoked.fence === taken.fence, `fence ${taken.fence} was revoked as ${revoked.fence}`)
        yield* expect(
          revoked.expiresIn === Infinity || revoked.expiresIn <= taken.expiresIn + 1 && revoked.expiresIn > 0,
          `what ended in ${taken.expiresIn} ms is said to end in ${revoked.expiresIn} ms since it was revoked`
        )
        yield* expectRevoked([store], name, before, entry)
        yield* expectEnd(Effect.map(read(store, name), ({ answer }) => answer !== undefined), given, times)
      }
    })),

  law(
    "a tenure ends on time that was revoked at another instance, again and again",
    (store, name, given) =>
      Effect.gen(function*() {
        if (store.sharing === undefined) return
        const other = yield* given.another
        const entry = entryOf("owner", undefined, "me")
        const { times } = yield* timed(take(store, name, entry, timeOf(given)))
        const before = yield* read(store, name)
        for (const at of [other, other, store, other]) {
          yield* Effect.sleep(Duration.millis(Math.ceil(timeOf(given) / 10)))
          yield* revoke(at, name)
          yield* expectRevoked([store, other], name, before, entry)
        }
        yield* expectEnd(Effect.map(read(other, name), ({ answer }) => answer !== undefined), given, times)
      })
  ),

  law(
    "what is written at any instance after a tenure kept its end has an end of its own",
    (store, name, { another, outlive, ttl }) =>
      Effect.gen(function*() {
        const stores = store.sharing === undefined ? [store, store] : [store, yield* another]
        for (const at of [stores, stores.toReversed()]) {
          const entry = entryOf("owner")
          const { fence } = yield* take(at[1]!, name, entry, long)
          yield* take(at[0]!, name, entry, ttl)
          yield* revoke(at[1]!, name, { entry })
          const renewed = yield* take(at[1]!, name, entry, long)
          yield* expect(renewed.fence === fence, `a renewal changed fence ${fence} to ${renewed.fence}`)
          yield* outlive
          const { answer } = yield* read(at[0]!, name)
          yield* expect(answer?.owner === "owner", "what was renewed ended as if it had not been")
          yield* remove(store, name)
        }
        // Where a tenure begins there is no end to be kept.
        const begun = { keepsEnd: true, ttlMillis: long, entry: entryOf("heir") }
        yield* store.modify(
          name,
          (): Decision<undefined> => ({ answer: undefined, change: { _tag: "Write", ...begun } })
        )
        yield* outlive
        yield* expect((yield* read(store, name)).answer?.owner === "heir", "a free name had no time to live")
        yield* take(store, name, entryOf("heir"), ttl)
        const heir = yield* revoke(store, name, { ...begun, begins: true })
        yield* expect(heir.fence === heir.revision, "a tenure that began had the fence of another")
        yield* outlive
        yield* expect(
          (yield* read(store, name)).answer?.owner === "heir",
          "a tenure that began kept the end of another"
        )
        yield* remove(store, name)
      })
  )
]

const holderLaws: ReadonlyArray<Rule> = [
  law(
    "a holder that is revoked at any instance keeps its fence, label and end, and others theirs",
    (store, name, given) =>
      Effect.gen(function*() {
        const stores = store.sharing === undefined ? [store] : [store, yield* given.another]
        for (const at of stores) {
          yield* admit(store, name, admitted("long", { identity: "me", label: "long" }))
          const brief = admitted("brief", { identity: "me", weight: 3, label: "brief", endsIn: timeOf(given) })
          const { times } = yield* timed(admit(store, name, brief))
          yield* renew(store, name, "long", long, { label: "renewed" })
          const { holders: before } = yield* readPermits(store, name)
          yield* Effect.sleep(Duration.millis(Math.ceil(timeOf(given) / 3)))
          yield* revokeHolders(at, name, ["brief"])
          yield* expectHolders(store, name, before.with(1, { ...before[1]!, identity }), "after one was revoked")
          yield* revokeHolders(at, name, ["brief", "long"])
          const revoked = before.map((one) => ({ ...one, identity }))
          for (const seenBy of stores) yield* expectHolders(seenBy, name, revoked, "after all were revoked")
          const { holders: after } = yield* readPermits(store, name)
          yield* expect(
            String(after.map(({ isRenewed, since }) => [isRenewed, since])) ===
              String(before.map(({ isRenewed, since }) => [isRenewed, since])),
            "holders that were revoked are there since another time"
          )
          const isThere = Effect.map(
            readPermits(at, name),
            ({ holders }) => holders.some(({ owner }) => owner === "brief")
          )
          yield* expectEnd(isThere, given, times)
          yield* expectHolders(store, name, revoked.slice(0, 1), "after one that was revoked had ended")
          yield* remove(store, name)
        }
      })
  ),

  law("a name whose revoked holders have all ended is free", (store, name, given) =>
    Effect.gen(function*() {
      const since = yield* Clock.currentTimeMillis
      yield* admit(store, name, admitted("brief", { since, endsIn: given.ttl }))
      yield* revokeHolders(store, name, ["brief"])
      yield* given.outlive
      yield* expect(
        isFree(yield* read(store, name)),
        "a name was not free whose last holder was revoked, and had ended"
      )
    }))
]

/** All of it. */
export const revocationLaws: ReadonlyArray<Rule> = [...mutexLaws, ...holderLaws]
