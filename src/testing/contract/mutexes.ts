/**
 * What a store must do with a name that one owner has at a time.
 */
import * as Clock from "effect/Clock"
import * as Duration from "effect/Duration"
import * as Effect from "effect/Effect"
import { monotonicMillis } from "../../lib/monotonic.ts"
import type { Asker, Change, Decision, Entry, Mutex } from "../../store/Store.ts"
import {
  entryOf,
  expect,
  type Instance,
  isFree,
  keep,
  law,
  lock,
  long,
  longestLabel,
  read,
  remove,
  type Rule,
  show,
  texts,
  Violation,
  write
} from "./Rule.ts"

const same = (a: Entry | undefined, b: Entry | undefined): boolean =>
  a?.owner === b?.owner && a?.identity === b?.identity && a?.data === b?.data && (a === undefined) === (b === undefined)

/** As `lock`, with what the owner says of itself, and that of a tenure to begin anew. */
const label = (
  store: Instance,
  name: string,
  owner: string,
  label: string | undefined,
  more: { readonly data?: string; readonly begins?: boolean } = {}
) =>
  store.modify(name, (found): Decision<boolean> => ({
    answer: true,
    change: {
      _tag: "Write",
      entry: { owner, identity: undefined, data: more.data ?? found?.data },
      ttlMillis: long,
      label,
      ...(more.begins === true && found !== undefined ? { begins: true } : {})
    }
  }), { owner, identity: undefined, waits: false })

/** As the LockServer does with a request that means one tenure: makes the change if it is that one, and else none. */
const ofTenure = (store: Instance, name: string, owner: string, wanted: bigint, change: (found: Mutex) => Change) =>
  store.modify(
    name,
    (found, _, fence): Decision<boolean> =>
      found?.owner !== undefined && found.owner === owner && fence === wanted
        ? { answer: true, change: change(found) }
        : { answer: false, change: keep },
    { owner, identity: undefined, waits: false, fence: wanted }
  )

const removal = (): Change => ({ _tag: "Remove" })
const renewal = (entry: Mutex): Change => ({ _tag: "Write", entry, ttlMillis: long })

const expectEntry = (store: Instance, name: string, entry: Entry | undefined, when: string) =>
  Effect.flatMap(
    read(store, name),
    ({ answer }) => expect(same(answer, entry), `${when} ${show(answer)} was read, and not ${show(entry)}`)
  )

/** What an entry is, and its fence and revision. */
const entryLaws: ReadonlyArray<Rule> = [
  law("an entry is read as it was written", (store, name) =>
    Effect.gen(function*() {
      yield* expectEntry(store, name, undefined, "before anything was written")
      for (const text of texts) {
        const entry = entryOf(text, text, text)
        yield* write(store, name, entry)
        yield* expectEntry(store, name, entry, "of odd text")
      }
      for (const entry of [entryOf("o"), entryOf("o", ""), entryOf("o", undefined, "i"), entryOf("o", "d")]) {
        yield* write(store, name, entry)
        yield* expectEntry(store, name, entry, "with and without data and identity")
      }
      const large = entryOf("o", "x".repeat(1024 * 1024))
      yield* write(store, name, large)
      yield* expectEntry(store, name, large, "of a large one")
      yield* remove(store, name)
    })),

  law("names differ, whatever their text", (store, name) =>
    Effect.gen(function*() {
      const odd = texts.map((text) => (name + text).slice(0, 512))
      for (const [i, one] of odd.entries()) yield* write(store, one, entryOf(`owner ${i}`))
      for (const [i, one] of odd.entries()) {
        yield* expectEntry(store, one, entryOf(`owner ${i}`), `under the name ${JSON.stringify(one)}`)
      }
      for (const one of odd) yield* remove(store, one)
      for (const one of odd) yield* expectEntry(store, one, undefined, "after its removal")
    })),

  law("a removed entry is gone, and removing none is nothing", (store, name) =>
    Effect.gen(function*() {
      yield* expect(isFree(yield* remove(store, name)), "a removal of nothing left something")
      yield* write(store, name, entryOf("o", "d"))
      yield* expect(isFree(yield* remove(store, name)), "a removal left something")
      yield* expect(isFree(yield* read(store, name)), "a removed entry was read")
    })),

  law(
    "a tenure keeps its fence, and each write has a greater revision than all before",
    (store, name, { outlive, ttl }) =>
      Effect.gen(function*() {
        let last = 0n
        for (let tenure = 0; tenure < 3; tenure++) {
          const began = yield* write(store, name, entryOf("o"))
          yield* expect(began.fence !== undefined && began.fence > last, `fence ${began.fence} came after ${last}`)
          yield* expect(began.fence === began.revision, "a fence is not the revision that its tenure began with")
          last = began.fence!
          for (const data of ["", "d"]) {
            const { fence, revision } = yield* write(store, name, entryOf("o", data))
            yield* expect(fence === began.fence, `the fence went from ${began.fence} to ${fence} in one tenure`)
            yield* expect(revision !== undefined && revision > last, `revision ${revision} came after ${last}`)
            last = revision!
          }
          const seen = yield* read(store, name)
          yield* expect(
            seen.fence === began.fence && seen.revision === last,
            "reading changed the fence or the revision"
          )
          yield* remove(store, name)
        }
        // After a tenure that ended by expiry too.
        yield* lock(store, name, "o", ttl)
        yield* outlive
        const next = yield* lock(store, name, "other")
        yield* expect(next.fence !== undefined && next.fence > last, `fence ${next.fence} came after ${last}`)
        yield* remove(store, name)
      })
  )
]

/** How long an entry lives. */
const timeLaws: ReadonlyArray<Rule> = [
  law("an entry lives for its time, and not much longer", (store, name, { ttl, late }) =>
    Effect.gen(function*() {
      const before = yield* monotonicMillis
      const { expiresIn } = yield* write(store, name, entryOf("o", "d"), ttl)
      yield* expect(
        expiresIn === Infinity || expiresIn > 0 && expiresIn <= ttl + late,
        `an entry of ${ttl} ms is said to end in ${expiresIn} ms`
      )
      const deadline = before + ttl
      let now = yield* monotonicMillis
      while (now < deadline) {
        const { answer } = yield* read(store, name)
        now = yield* monotonicMillis
        yield* expect(
          answer !== undefined || now >= deadline,
          `an entry of ${ttl} ms was gone after ${now - before} ms`
        )
        yield* Effect.sleep(Duration.millis(Math.max(1, Math.round(ttl / 20))))
      }
      yield* Effect.sleep(Duration.millis(Math.ceil(late)))
      yield* expect(isFree(yield* read(store, name)), `an entry of ${ttl} ms was there ${late} ms after its end`)
    })),

  law(
    "a write renews, from now on, and also to a shorter time",
    (store, name, { ttl, outlive }) =>
      Effect.gen(function*() {
        yield* write(store, name, entryOf("o"), ttl)
        yield* Effect.sleep(Duration.millis(Math.ceil(ttl / 2)))
        yield* write(store, name, entryOf("o"), long)
        yield* outlive
        yield* expectEntry(store, name, entryOf("o"), "after a renewal to a longer time")
        yield* write(store, name, entryOf("o"), ttl)
        yield* outlive
        yield* expectEntry(store, name, undefined, "after a renewal to a shorter time")
      })
  )
]

/** What a store may guess from its asker: a guess may save a round trip, and never changes what happens. */
const askerLaws: ReadonlyArray<Rule> = [
  law("an asker gets what is there, whatever the store guessed", (store, name) =>
    Effect.gen(function*() {
      const mine: Asker = { owner: "me", identity: undefined, waits: false }
      const others: ReadonlyArray<Mutex | undefined> = [
        undefined,
        entryOf("me"),
        entryOf("me", ""),
        entryOf("me", "d"),
        entryOf("me", undefined, "identity"),
        entryOf("other"),
        entryOf("other", "d")
      ]
      for (const entry of others) {
        for (const waits of [false, true]) {
          if (entry !== undefined) yield* write(store, name, entry)
          const { answer, fence } = yield* read(store, name, { ...mine, waits })
          yield* expect(same(answer, entry), `${show(answer)} was read by a guess, and not ${show(entry)}`)
          yield* expect((fence === undefined) === (entry === undefined), "a fence without an entry, or none with one")
          yield* expectEntry(store, name, entry, "after that")
          const removed = yield* remove(store, name, { ...mine, waits })
          yield* expect(same(removed.answer, entry) && isFree(removed), "a removal by a guess did something else")
          yield* expectEntry(store, name, undefined, "after its removal")
        }
      }
    })),

  law("an identity is part of the entry", (store, name) =>
    Effect.gen(function*() {
      yield* write(store, name, entryOf("me", undefined, "alice"))
      for (const identity of [undefined, "bob", ""]) {
        const { answer } = yield* read(store, name, { owner: "me", identity, waits: false })
        yield* expect(answer?.identity === "alice", `the identity ${identity} was accepted for alice`)
      }
      yield* remove(store, name)
    }))
]

/** How much the clock of a store may differ from the one here, in milliseconds. */
const skew = 60_000

/** Fails unless all who ask are told of this label, and gives since when the tenure is. */
const expectHolder = (store: Instance, name: string, label: string | undefined, when: string) =>
  Effect.gen(function*() {
    const askers: ReadonlyArray<Asker | undefined> = [
      undefined,
      { owner: "other", identity: undefined, waits: false },
      { owner: "other", identity: "identity", waits: false }
    ]
    let since = -1
    for (const asker of askers) {
      const { holder } = yield* read(store, name, asker)
      if (holder === undefined) return yield* new Violation({ problem: `${when} nobody knew who held the name` })
      const now = yield* Clock.currentTimeMillis
      yield* expect(
        holder.label === label,
        `${when} the label was ${JSON.stringify(holder.label)}, and not ${JSON.stringify(label)}`
      )
      yield* expect(
        Number.isInteger(holder.since) && Math.abs(holder.since - now) < skew,
        `${when} the tenure had begun at ${holder.since}, and now is ${now}`
      )
      yield* expect(since === -1 || holder.since === since, `${when} the tenure began at ${since} and ${holder.since}`)
      since = holder.since
    }
    return since
  })

/** What is public of a tenure. */
const holderLaws: ReadonlyArray<Rule> = [
  law("a tenure keeps its label and since when it is", (store, name) =>
    Effect.gen(function*() {
      yield* expect((yield* read(store, name)).holder === undefined, "a free name had a holder")
      let last = -1
      for (const first of ["first", undefined]) {
        yield* label(store, name, "me", first)
        const since = yield* expectHolder(store, name, first, "after a tenure began")
        yield* expect(since > last, `a tenure is since ${since}, and the one before since ${last}`)
        last = since
        const steps: ReadonlyArray<readonly [string | undefined, string | undefined]> = [
          [first, undefined],
          [undefined, undefined],
          ["second", undefined],
          ["second", undefined],
          [undefined, "data"],
          ["third", undefined],
          [undefined, undefined]
        ]
        let shown = first
        for (const [given, data] of steps) {
          yield* Effect.sleep("5 millis")
          const what = `after a renewal with ${JSON.stringify({ label: given, data })}`
          yield* label(store, name, "me", given, data === undefined ? {} : { data })
          shown = given ?? shown
          yield* expect((yield* expectHolder(store, name, shown, what)) === since, `${what} it was since another time`)
        }
        yield* remove(store, name)
        yield* expect((yield* read(store, name)).holder === undefined, "a removed entry had a holder")
      }
    })),

  law(
    "a tenure that begins over another, or after it, has its own label",
    (store, name, { outlive, ttl }) =>
      Effect.gen(function*() {
        for (const data of [undefined, "d"]) {
          let last = -1
          yield* label(store, name, "me", "mine", data === undefined ? {} : { data })
          for (const heirs of ["heir's", undefined]) {
            yield* Effect.sleep("5 millis")
            yield* label(store, name, "me", heirs, { begins: true })
            const since = yield* expectHolder(store, name, heirs, "after another tenure began")
            yield* expect(since > last, "a tenure that began over another is since as long")
            last = since
            yield* label(store, name, "me", undefined)
            const renewed = yield* expectHolder(store, name, heirs, "after its renewal")
            yield* expect(renewed === since, "a renewal changed since when a tenure is")
          }
          yield* remove(store, name)
        }
        yield* store.modify(name, () => ({
          answer: undefined,
          change: { _tag: "Write", entry: entryOf("me"), ttlMillis: ttl, label: "mine" }
        }))
        yield* outlive
        yield* lock(store, name, "next")
        yield* expectHolder(store, name, undefined, "after one with a label had expired")
        yield* remove(store, name)
      })
  ),

  law("a label is told as it was given", (store, name) =>
    Effect.gen(function*() {
      for (
        const text of [...texts.map((text) => text.slice(0, 256)), longestLabel, "\"", "\",\"since\":1,\"a\":\"", "b"]
      ) {
        for (const asked of [text, text, undefined]) {
          yield* label(store, name, "me", asked)
          yield* expectHolder(store, name, text, "of odd text")
        }
      }
      yield* remove(store, name)
    }))
]

/** What can be asked of one tenure. */
const tenureLaws: ReadonlyArray<Rule> = [
  law("a decision is told the fence of the tenure, unless it is a guess", (store, name) =>
    Effect.gen(function*() {
      const told = (asker?: Asker) =>
        store.modify(
          name,
          (found, revision, fence): Decision<boolean> => ({
            answer: found === undefined || revision === undefined || fence !== undefined,
            change: keep
          }),
          asker
        )
      for (const data of [undefined, "d"]) {
        const { fence } = yield* write(store, name, entryOf("me", data))
        const renewed = yield* write(store, name, entryOf("me", data))
        const seen = yield* store.modify(name, (_, revision, told) => ({ answer: { revision, told }, change: keep }))
        yield* expect(
          fence !== undefined && seen.answer.told === fence && seen.answer.revision === renewed.revision,
          `the fence ${seen.answer.told} was told of the tenure of fence ${fence}`
        )
        for (const owner of ["me", "other"]) {
          const { answer } = yield* told({ owner, identity: undefined, waits: false })
          yield* expect(answer, "a decision was told a revision, and no fence")
        }
        yield* remove(store, name)
      }
    })),

  law("a change can be bound to a tenure", (store, name) =>
    Effect.gen(function*() {
      const none = yield* ofTenure(store, name, "me", 1n, removal)
      yield* expect(!none.answer && isFree(none), "a tenure was found where there is none")
      const first = yield* lock(store, name, "me")
      yield* remove(store, name)
      for (const data of [undefined, "d"]) {
        const { fence } = yield* write(store, name, entryOf("me", data))
        const wrong = [0n, first.fence!, fence! - 1n, fence! + 1n, 2n ** 63n, 10n ** 39n - 1n]
        for (const one of wrong) {
          for (const change of [removal, renewal]) {
            const outcome = yield* ofTenure(store, name, "me", one, change)
            yield* expect(!outcome.answer && outcome.fence === fence, `fence ${one} was taken for ${fence}`)
          }
        }
        yield* expect(!(yield* ofTenure(store, name, "other", fence!, removal)).answer, "the tenure of another ended")
        yield* expectEntry(store, name, entryOf("me", data), "after changes of other tenures")
        const renewed = yield* ofTenure(store, name, "me", fence!, renewal)
        yield* expect(
          renewed.answer && renewed.fence === fence && renewed.revision! > fence!,
          "a tenure was not renewed by its fence"
        )
        yield* expectEntry(store, name, entryOf("me", data), "after a renewal by its fence")
        const removed = yield* ofTenure(store, name, "me", fence!, removal)
        yield* expect(removed.answer && isFree(removed), "a tenure was not ended by its fence")
      }
    })),

  law("a tenure can begin over the entry of another", (store, name) =>
    Effect.gen(function*() {
      let last = 0n
      for (const data of [undefined, "d"]) {
        const { fence } = yield* write(store, name, entryOf("me", data))
        const begun = yield* ofTenure(store, name, "me", fence!, (found) => ({
          _tag: "Write",
          entry: { ...found, owner: "heir" },
          ttlMillis: long,
          begins: true
        }))
        yield* expect(
          begun.answer && begun.fence! > fence! && begun.fence === begun.revision && begun.expiresIn > 0,
          `the tenure that began over that of fence ${fence} has fence ${begun.fence}`
        )
        yield* expectEntry(store, name, entryOf("heir", data), "after it passed to its heir")
        yield* expect(!(yield* ofTenure(store, name, "me", fence!, removal)).answer, "the former tenure lived on")
        for (const renew of [lock(store, name, "heir"), ofTenure(store, name, "heir", begun.fence!, renewal)]) {
          const renewed = yield* Effect.repeat(renew, { times: 1 })
          yield* expect(renewed.answer && renewed.fence === begun.fence, "a renewal changed the fence of an heir")
        }
        const { fence: seen } = yield* read(store, name)
        yield* expect(seen === begun.fence, `fence ${seen} was read of the tenure of fence ${begun.fence}`)
        const removed = yield* ofTenure(store, name, "heir", begun.fence!, removal)
        yield* expect(removed.answer && isFree(removed), "the tenure of an heir was not ended by its fence")
        yield* expect(begun.fence! > last, "a fence went back")
        last = begun.fence!
      }
      // On a free name it is as any other.
      const fresh = yield* store.modify(name, () => ({
        answer: undefined,
        change: { ...renewal(entryOf("o")), begins: true }
      }))
      yield* expect(fresh.fence! > last && fresh.fence === fresh.revision, `fence ${fresh.fence} came after ${last}`)
      yield* remove(store, name)
    }))
]

/** What happens to changes that are made at once. */
const concurrencyLaws: ReadonlyArray<Rule> = [
  law(
    "of many owners that lock a free name at once, one gets it",
    (store, name, { ttl, outlive }) =>
      Effect.gen(function*() {
        for (const expired of [false, true]) {
          if (expired) {
            yield* lock(store, name, "gone", ttl)
            yield* outlive
          }
          const granted = yield* Effect.forEach(
            Array.from({ length: 32 }, (_, i) => `owner ${i}`),
            (owner) => Effect.map(lock(store, name, owner), ({ answer }) => answer ? [owner] : []),
            { concurrency: "unbounded" }
          )
          const winners = granted.flat()
          yield* expect(winners.length === 1, `${winners.length} of 32 got the name`)
          yield* expectEntry(store, name, entryOf(winners[0]!), "after it was locked")
          yield* remove(store, name)
        }
      })
  ),

  law("no change is lost among many at once", (store, name) =>
    Effect.gen(function*() {
      const increment = store.modify(name, (found) => ({
        answer: undefined,
        change: { _tag: "Write", entry: entryOf("o", String(Number(found?.data ?? 0) + 1)), ttlMillis: long }
      }))
      yield* Effect.all(Array.from({ length: 16 }, () => Effect.repeat(increment, { times: 3 })), {
        concurrency: "unbounded",
        discard: true
      })
      yield* expectEntry(store, name, entryOf("o", "64"), "after 64 increments")
      yield* remove(store, name)
    })),

  law("a change can be bound to a revision", (store, name) =>
    Effect.gen(function*() {
      const removeIf = (wanted: bigint | undefined) =>
        store.modify(name, (_, revision) => ({
          answer: undefined,
          change: revision !== undefined && revision === wanted ? { _tag: "Remove" } : keep
        }))
      const first = yield* lock(store, name, "me")
      const second = yield* lock(store, name, "me")
      yield* removeIf(first.revision)
      yield* expectEntry(store, name, entryOf("me"), "after a removal of what it was before its renewal")
      yield* removeIf(second.revision)
      yield* expectEntry(store, name, undefined, "after a removal of what it was")
    }))
]

/** All of it. */
export const mutexLaws: ReadonlyArray<Rule> = [
  ...entryLaws,
  ...timeLaws,
  ...askerLaws,
  ...holderLaws,
  ...tenureLaws,
  ...concurrencyLaws
]
