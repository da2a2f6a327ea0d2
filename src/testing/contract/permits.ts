/**
 * The laws of a name that several hold at a time: who they are, and with which fences.
 */
import * as Clock from "effect/Clock"
import * as Effect from "effect/Effect"
import type { Admitted, Asker, Entry, Limit, Permit } from "../../store/Store.ts"
import {
  admit,
  admitted,
  enter,
  expectHolders,
  expectOwners,
  passOn,
  permitsOf,
  readPermits,
  release,
  renew,
  setNext
} from "./holders.ts"
import {
  entryOf,
  expect,
  type Instance,
  isFree,
  law,
  lock,
  long,
  longestLabel,
  read,
  remove,
  type Rule,
  texts,
  write
} from "./Rule.ts"

/** How much the clock of a store may differ from the one here, in milliseconds. */
const skew = 60_000

const me: Asker = { owner: "me", identity: undefined, waits: false }

/** All that may be guessed by. */
const askers: ReadonlyArray<Asker | undefined> = [
  undefined,
  { ...me, shares: false },
  { ...me, shares: true },
  { ...me, shares: true, waits: true }
]

/** Lets them in one after another, and gives them with the fences that they were given. */
const admitAll = Effect.fnUntraced(function*(
  store: Instance,
  name: string,
  all: ReadonlyArray<Admitted>,
  limit?: Limit
) {
  const holders: Array<Admitted & Pick<Permit, "fence">> = []
  for (const one of all) {
    const { fence } = yield* admit(store, name, one, limit)
    holders.push({ ...one, fence: fence! })
  }
  return holders
})

/** What a holder is. */
const shapeLaws: ReadonlyArray<Rule> = [
  law("holders are read as they were written", (store, name) =>
    Effect.gen(function*() {
      const odd = texts.flatMap((text, i) => [
        admitted(text, { identity: text, label: text.slice(0, 256), weight: i + 1 }),
        admitted(text, { label: i % 2 === 0 ? "" : undefined, weight: 999_999_999 }),
        admitted(`owner ${i}`, { identity: "", weight: "all" })
      ])
      const all = yield* admitAll(store, name, [...odd, admitted("long", { label: longestLabel, weight: 1 })])
      yield* expectHolders(store, name, all, "of odd texts")
      yield* renew(store, name, "owner 0", long, { label: "another" })
      const renewed = { ...all[2]!, label: "another" }
      yield* expectHolders(store, name, all.with(2, renewed), "after one was renewed with another label")
      const told = (yield* readPermits(store, name)).holders.filter(({ isRenewed }) => isRenewed === true)
      yield* expect(told.length === 1 && told[0]!.owner === "owner 0", `${told.length} were renewed, and not one`)
      yield* remove(store, name)
      for (const limit of [1, 999_999_999, "shared"] as const) {
        yield* admitAll(store, name, [admitted("one", { weight: limit === "shared" ? "all" : limit })], limit)
        const found = yield* readPermits(store, name)
        yield* expect(found.limit === limit, `the limit ${found.limit} was read, and not ${limit}`)
        yield* expect(found.next === undefined, "somebody was next")
        yield* release(store, name, "one")
      }
      yield* expect(isFree(yield* read(store, name)), "a name whose last holder was released was not free")
    })),

  law("many hold a name at once", (store, name) =>
    Effect.gen(function*() {
      const many = Array.from({ length: 200 }, (_, i) => admitted(`owner ${i}`, { weight: i + 1, label: `label ${i}` }))
      const all = yield* admitAll(store, name, many)
      yield* expectHolders(store, name, all, "of 200")
      for (let i = 0; i < 200; i += 4) yield* release(store, name, `owner ${i}`)
      yield* expectHolders(store, name, all.filter((_, i) => i % 4 !== 0), "after one of four was released")
      yield* expect(isFree(yield* remove(store, name)), "a removal of many left something")
      yield* expect((yield* read(store, name)).answer === undefined, "many were read after their removal")
    })),

  law("a holder keeps its label and since when it is", (store, name) =>
    Effect.gen(function*() {
      const holderOf = (owner: string) =>
        Effect.flatMap(readPermits(store, name), ({ holders }) => {
          const one = holders.find((holder) => holder.owner === owner)
          return Effect.as(expect(one !== undefined, `${owner} was not there`), one!)
        })
      const begin = Effect.fnUntraced(function*(change: ReturnType<typeof admit>, owner: string, label?: string) {
        yield* change
        const { label: told, since } = yield* holderOf(owner)
        const now = yield* Clock.currentTimeMillis
        yield* expect(told === label, `the label of ${owner} was ${told}, and not ${label}`)
        yield* expect(
          Number.isInteger(since) && Math.abs(since - now) < skew,
          `${owner} is said to be there since ${since}, and now is ${now}`
        )
        yield* Effect.sleep("5 millis")
        return since
      })
      const first = yield* begin(admit(store, name, admitted("first", { label: "one" })), "first", "one")
      const second = yield* begin(admit(store, name, admitted("second")), "second")
      yield* expect(second > first, `one came after another, and is there since ${second} and that since ${first}`)
      for (const [owner, since] of [["first", first], ["second", second]] as const) {
        const renewed = yield* begin(renew(store, name, owner, long, { label: owner }), owner, owner)
        yield* expect(renewed === since, `a renewal changed ${since} to ${renewed}`)
      }
      const heir = yield* begin(passOn(store, name, "first", admitted("heir")), "heir")
      yield* expect(heir > second, `an heir is there since ${heir}, and another before since ${second}`)
      const { label, since } = yield* holderOf("second")
      yield* expect(
        label === "second" && since === second,
        "what others did changed a label, or since when one is there"
      )
      yield* remove(store, name)
    }))
]

/** The fences of holders. */
const fenceLaws: ReadonlyArray<Rule> = [
  law(
    "each holder keeps its own fence, greater than all before",
    (store, name, { outlive, ttl }) =>
      Effect.gen(function*() {
        let last = 0n
        const begins = Effect.fnUntraced(function*(change: ReturnType<typeof admit>) {
          const { fence, revision } = yield* change
          yield* expect(fence !== undefined && fence > last, `fence ${fence} came after ${last}`)
          yield* expect(fence === revision, `a tenure began with revision ${revision}, and has fence ${fence}`)
          last = revision!
          return fence!
        })
        const goesOn = Effect.fnUntraced(function*(owner: string, wanted: bigint) {
          const { fence, revision } = yield* renew(store, name, owner)
          yield* expect(fence === wanted, `a renewal changed fence ${wanted} to ${fence}`)
          yield* expect(revision !== undefined && revision > last, `revision ${revision} came after ${last}`)
          last = revision!
        })
        yield* begins(write(store, name, entryOf("before")))
        yield* remove(store, name)
        for (let round = 0; round < 2; round++) {
          const a = admitted("a", { fence: yield* begins(admit(store, name, admitted("a"))) })
          const b = admitted("b", { fence: yield* begins(admit(store, name, admitted("b"))) })
          for (let i = 0; i < 2; i++) for (const { fence, owner } of [b, a]) yield* goesOn(owner, fence!)
          const heir = admitted("heir", { fence: yield* begins(passOn(store, name, "a", admitted("heir"))) })
          yield* goesOn("heir", heir.fence!)
          // An owner may be its own heir.
          const own = admitted("b", { fence: yield* begins(passOn(store, name, "b", admitted("b"))) })
          yield* goesOn("b", own.fence!)
          for (let i = 0; i < 2; i++) {
            const seen = yield* readPermits(store, name)
            const fences = seen.holders.map(({ fence }) => fence)
            yield* expect(
              String(fences) === String([heir.fence, own.fence]),
              `the fences ${fences} were read, and not ${heir.fence},${own.fence}`
            )
            const { revision } = yield* read(store, name)
            yield* expect(revision === last, `revision ${revision} was read, and ${last} is that of the last change`)
          }
          yield* release(store, name, "heir")
          yield* release(store, name, "b")
        }
        // After tenures that ended by themselves too.
        yield* begins(admit(store, name, admitted("brief", { endsIn: ttl })))
        yield* outlive
        yield* begins(admit(store, name, admitted("next")))
        yield* remove(store, name)
      })
  ),

  law(
    "an outcome is about the holder that was changed, or else the one that ends first",
    (store, name, { late }) =>
      Effect.gen(function*() {
        const early = long / 2
        const fences = new Map<string, bigint>()
        const about = Effect.fnUntraced(function*(change: ReturnType<typeof admit>, who: string, endsIn: number) {
          const { expiresIn, fence, holder } = yield* change
          if (holder?.label === who && !fences.has(who)) fences.set(who, fence!)
          yield* expect(
            holder?.label === who && fence === fences.get(who),
            `an outcome is about ${holder?.label} with fence ${fence}, and not about ${who} with ${fences.get(who)}`
          )
          yield* expect(
            expiresIn === Infinity || expiresIn > 0 && expiresIn <= endsIn + late,
            `an outcome says that what ends in ${endsIn} ms ends in ${expiresIn} ms`
          )
        })
        yield* about(admit(store, name, admitted("late", { label: "late" })), "late", long)
        yield* about(admit(store, name, admitted("early", { label: "early", endsIn: early })), "early", early)
        yield* about(admit(store, name, admitted("last", { label: "last" })), "last", long)
        yield* about(renew(store, name, "late"), "late", long)
        const seen = yield* read(store, name)
        if (seen.expiresIn !== Infinity) yield* about(read(store, name), "early", early)
        yield* about(passOn(store, name, "early", admitted("heir", { label: "heir", endsIn: early })), "heir", early)
        if (seen.expiresIn !== Infinity) yield* about(release(store, name, "last"), "heir", early)
        yield* expect(isFree(yield* remove(store, name)), "the outcome of a removal was about somebody")
      })
  )
]

/** What is compared of what was read. */
const textOf = (entry: Entry | undefined): string => {
  if (entry === undefined) return "nothing"
  if (entry.limit === undefined) return JSON.stringify(entryOf(entry.owner, entry.data, entry.identity))
  const { holders, limit, next } = entry
  return JSON.stringify([limit, holders.map(({ fence, owner }) => [owner, String(fence)]), next?.owner])
}

/** Names that have holders, have an owner, and have both one after the other. */
const kindLaws: ReadonlyArray<Rule> = [
  law("a name is one owner's, then of several, then one owner's", (store, name) =>
    Effect.gen(function*() {
      let last = 0n
      const rises = (outcome: { readonly fence: bigint | undefined; readonly revision: bigint | undefined }) =>
        Effect.andThen(
          expect(
            outcome.fence !== undefined && outcome.fence > last && outcome.fence === outcome.revision,
            `fence ${outcome.fence} at revision ${outcome.revision} came after ${last}`
          ),
          Effect.sync(() => {
            last = outcome.revision!
          })
        )
      for (const asker of askers) {
        yield* rises(yield* write(store, name, entryOf("me", "data")))
        yield* rises(yield* admit(store, name, admitted("me"), 5, asker))
        yield* expectOwners(store, name, ["me"], "after the data of one owner")
        yield* rises(yield* admit(store, name, admitted("other"), 5, asker))
        const mutex = yield* write(store, name, entryOf("me"))
        yield* rises(mutex)
        const { answer } = yield* read(store, name)
        yield* expect(answer?.owner === "me" && answer.data === undefined, "one owner did not have what several had")
        const renewed = yield* lock(store, name, "me")
        yield* expect(renewed.answer && renewed.fence === mutex.fence, "it was not renewed after that")
        last = renewed.revision!
        yield* remove(store, name)
      }
    })),

  law("an asker gets the holders that are there, whatever the store guessed", (store, name) =>
    Effect.gen(function*() {
      const preparations = [
        Effect.void,
        write(store, name, entryOf("me")),
        write(store, name, entryOf("me", "data")),
        write(store, name, entryOf("other")),
        admit(store, name, admitted("me")),
        admit(store, name, admitted("other")),
        Effect.andThen(admit(store, name, admitted("me")), admit(store, name, admitted("other"))),
        setNext(store, name, { owner: "me", identity: undefined, weight: 1, endsIn: long })
      ]
      for (const asker of askers) {
        for (const prepare of preparations) {
          yield* prepare
          const there = textOf((yield* read(store, name)).answer)
          const seen = textOf((yield* read(store, name, asker)).answer)
          yield* expect(seen === there, `${seen} was read by a guess, and not ${there}`)
          const { answer } = yield* admit(store, name, admitted("new"), 1000, asker)
          yield* expect(textOf(answer) === there, `${textOf(answer)} was decided on by a guess, and not ${there}`)
          const { holders } = yield* readPermits(store, name)
          const before = permitsOf(answer).holders.map(({ owner }) => owner)
          yield* expect(
            String(holders.map(({ owner }) => owner)) === String([...before, "new"]),
            `a change by a guess left [${holders.map(({ owner }) => owner)}] of [${before}]`
          )
          const removed = yield* remove(store, name, asker)
          yield* expect(isFree(removed), "a removal by a guess left something")
        }
      }
    }))
]

/** Many take one of five permits again and again, each at one of these instances. */
const contend = (instances: ReadonlyArray<Instance>, name: string) =>
  Effect.gen(function*() {
    const limit = 5
    let inside = 0
    const once = Effect.fnUntraced(function*(store: Instance, owner: string) {
      while (!(yield* enter(store, name, owner, limit)).answer) yield* Effect.sleep("5 millis")
      inside++
      yield* expect(inside <= limit, `${inside} had one of ${limit} permits`)
      yield* Effect.sleep("2 millis")
      inside--
      const { answer } = yield* release(store, name, owner)
      const had = permitsOf(answer).holders.some((one) => one.owner === owner)
      yield* expect(had, `${owner} had a permit, and nobody knew`)
    })
    yield* Effect.forEach(
      Array.from({ length: 16 }, (_, i) => i),
      (i) => Effect.repeat(once(instances[i % instances.length]!, `owner ${i}`), { times: 2 }),
      { concurrency: "unbounded", discard: true }
    )
    yield* expect(isFree(yield* read(instances[0]!, name)), "a permit was left when all had given theirs back")
  })

/** What happens to holders that come and go at once. */
const concurrencyLaws: ReadonlyArray<Rule> = [
  law("of many that ask for permits at once, never more are in than fit", (store, name) => contend([store], name)),

  law(
    "of many that ask for permits at two instances, never more are in than fit",
    (store, name, { another }) =>
      Effect.gen(function*() {
        if (store.sharing === undefined) return
        yield* contend([store, yield* another], name)
      })
  ),

  law("no holder is lost, or left, of many that come and go at once", (store, name) =>
    Effect.gen(function*() {
      const owners = Array.from({ length: 64 }, (_, i) => `owner ${i}`)
      const outcomes = yield* Effect.forEach(
        owners,
        (owner, i) => admit(store, name, admitted(owner), 1000, { ...me, owner, shares: i % 2 === 0 }),
        { concurrency: 16 }
      )
      const { holders } = yield* readPermits(store, name)
      for (const [i, owner] of owners.entries()) {
        const holder = holders.find((one) => one.owner === owner)
        yield* expect(
          holder !== undefined && holder.fence === outcomes[i]!.fence,
          `${owner} with fence ${outcomes[i]!.fence} was lost, or has ${holder?.fence}`
        )
      }
      yield* Effect.forEach(owners, (owner) => release(store, name, owner), { concurrency: "unbounded" })
      yield* expect(isFree(yield* read(store, name)), "one was left of many that went at once")
    }))
]

/** All of it. */
export const permitLaws: ReadonlyArray<Rule> = [...shapeLaws, ...fenceLaws, ...kindLaws, ...concurrencyLaws]
