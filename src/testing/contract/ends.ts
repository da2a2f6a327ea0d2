/**
 * The laws of a name that several hold at a time: when each of them ends, and who is next.
 */
import * as Duration from "effect/Duration"
import * as Effect from "effect/Effect"
import { monotonicMillis } from "../../lib/monotonic.ts"
import type { Next } from "../../store/Store.ts"
import { admit, admitted, enter, expectOwners, permitsOf, readPermits, release, renew, setNext } from "./holders.ts"
import {
  entryOf,
  expect,
  type Given,
  type Instance,
  isFree,
  law,
  lock,
  long,
  read,
  remove,
  type Rule,
  write
} from "./Rule.ts"

/** Sleeps until a time of the monotonic clock has passed. */
const sleepUntil = (at: number) =>
  Effect.flatMap(monotonicMillis, (now) => Effect.sleep(Duration.millis(Math.max(0, Math.ceil(at - now)))))

/** Whether somebody is there: as a holder, or as the next. */
const isThere = (store: Instance, name: string, owner: string) =>
  Effect.map(
    readPermits(store, name),
    ({ holders, next }) => next?.owner === owner || holders.some((one) => one.owner === owner)
  )

/**
 * Fails unless one that was given `ttl` at that time is there for it, and not much longer, however often others do
 * something meanwhile.
 */
const expectItsTime = Effect.fnUntraced(function*(
  store: Instance,
  name: string,
  owner: string,
  { late, ttl }: Given,
  before: number,
  others: Effect.Effect<unknown, unknown>
) {
  const deadline = before + ttl
  let now = before
  for (let i = 0; i < 50 || now < deadline; i++) {
    if (i < 50) yield* others
    const there = yield* isThere(store, name, owner)
    now = yield* monotonicMillis
    // A store may count in whole milliseconds, and its first one has begun before it is asked.
    yield* expect(there || now >= deadline - 1, `${owner} with ${ttl} ms was gone after ${now - before} ms`)
    yield* Effect.sleep(Duration.millis(Math.max(1, Math.round(ttl / 100))))
  }
  yield* sleepUntil(deadline + late)
  yield* expect(!(yield* isThere(store, name, owner)), `${owner} with ${ttl} ms was there ${late} ms after its end`)
})

const holderLaws: ReadonlyArray<Rule> = [
  law("a holder lives for its time, and others live on", (store, name, given) =>
    Effect.gen(function*() {
      const { late, ttl } = given
      for (const first of [true, false]) {
        if (!first) yield* admit(store, name, admitted("before"))
        const before = yield* monotonicMillis
        yield* admit(store, name, admitted("brief", { endsIn: ttl }))
        const { holders } = yield* readPermits(store, name)
        const brief = holders.find(({ owner }) => owner === "brief")
        yield* expect(
          brief?.endsIn === Infinity || brief !== undefined && brief.endsIn > 0 && brief.endsIn <= ttl + late,
          `a holder of ${ttl} ms is said to end in ${brief?.endsIn} ms`
        )
        yield* admit(store, name, admitted("after"))
        yield* expectItsTime(store, name, "brief", given, before, Effect.void)
        yield* expectOwners(store, name, first ? ["after"] : ["before", "after"], "after one had ended")
        // What is written next says nothing of the dead.
        yield* admit(store, name, admitted("last"))
        yield* expectOwners(store, name, first ? ["after", "last"] : ["before", "after", "last"], "after the next came")
        yield* remove(store, name)
      }
    })),

  law("a holder keeps its end, however often others are written", (store, name, given) =>
    Effect.gen(function*() {
      for (const first of [true, false]) {
        if (!first) yield* admit(store, name, admitted("other"))
        const before = yield* monotonicMillis
        yield* admit(store, name, admitted("brief", { endsIn: given.ttl }))
        if (first) yield* admit(store, name, admitted("other"))
        yield* expectItsTime(store, name, "brief", given, before, renew(store, name, "other"))
        yield* expectOwners(store, name, ["other"], "after one had ended")
        yield* remove(store, name)
      }
    })),

  law(
    "a renewal ends a holder later, or earlier, and no other",
    (store, name, { outlive, ttl }) =>
      Effect.gen(function*() {
        yield* admit(store, name, admitted("one", { endsIn: ttl }))
        yield* admit(store, name, admitted("other"))
        yield* Effect.sleep(Duration.millis(Math.ceil(ttl / 2)))
        yield* renew(store, name, "one")
        yield* outlive
        yield* expectOwners(store, name, ["one", "other"], "after a renewal to a longer time")
        yield* renew(store, name, "one", ttl)
        yield* outlive
        yield* expectOwners(store, name, ["other"], "after a renewal to a shorter time")
        yield* renew(store, name, "other", ttl)
        yield* outlive
        yield* expect(isFree(yield* read(store, name)), "a name whose last holder had ended was not free")
      })
  ),

  law("a name whose holders have all ended is free", (store, name, { outlive, ttl }) =>
    Effect.gen(function*() {
      const brief = Effect.gen(function*() {
        yield* admit(store, name, admitted("a", { endsIn: ttl }), 5)
        yield* admit(store, name, admitted("b"), 5)
        yield* admit(store, name, admitted("c", { endsIn: ttl }), 5)
        yield* release(store, name, "b")
        yield* outlive
      })
      yield* brief
      const found = yield* read(store, name)
      yield* expect(found.answer === undefined && isFree(found), "it was not free for one who reads")
      yield* brief
      const mutex = yield* lock(store, name, "owner")
      yield* expect(mutex.answer && mutex.fence === mutex.revision, "one owner did not get it")
      yield* remove(store, name)
      yield* brief
      const entered = yield* enter(store, name, "d", 1)
      yield* expect(entered.answer, "the next holder did not get it")
      yield* expectOwners(store, name, ["d"], "after the next holder came")
      yield* expect(isFree(yield* release(store, name, "d")), "it was not free after its only holder was released")
    }))
]

const nextOf = (endsIn = long): Next => ({ owner: "next", identity: "identity", weight: 3, endsIn })

const nextLaws: ReadonlyArray<Rule> = [
  law("who is next is read as it was written, and ends on time", (store, name, given) =>
    Effect.gen(function*() {
      yield* admit(store, name, admitted("holder"), 5)
      const before = yield* monotonicMillis
      yield* setNext(store, name, nextOf(given.ttl))
      const { holders, limit, next } = yield* readPermits(store, name)
      yield* expect(limit === 5 && holders.length === 1, "who is next changed what is there")
      yield* expect(
        next?.owner === "next" && next.identity === "identity" && next.weight === 3,
        `${JSON.stringify(next)} was read of who is next`
      )
      yield* expectItsTime(store, name, "next", given, before, renew(store, name, "holder"))
      for (const weight of [1, "all"] as const) {
        yield* setNext(store, name, { owner: "another", identity: undefined, weight, endsIn: long })
        const { next } = yield* readPermits(store, name)
        yield* expect(
          next?.owner === "another" && next.identity === undefined && next.weight === weight,
          `${JSON.stringify(next)} was read of another that is next`
        )
      }
      yield* setNext(store, name, undefined)
      yield* expect((yield* readPermits(store, name)).next === undefined, "one was next that had been removed")
      yield* expectOwners(store, name, ["holder"], "after nobody was next any more")
      yield* remove(store, name)
    })),

  law("a name that only has a next is not free", (store, name, { outlive, ttl }) =>
    Effect.gen(function*() {
      yield* admit(store, name, admitted("holder"), 5)
      yield* setNext(store, name, nextOf())
      const left = yield* release(store, name, "holder")
      yield* expect(!isFree(left) && left.expiresIn > 0, "it was free for one who released the last holder")
      const found = yield* read(store, name)
      const { holders, limit, next } = permitsOf(found.answer)
      yield* expect(
        found.answer !== undefined && holders.length === 0 && limit === 5 && next?.owner === "next",
        `${holders.length} holders of ${limit}, and ${next?.owner} were read`
      )
      yield* expect(!isFree(found) && found.expiresIn > 0, "it was free for one who reads")
      yield* expect(!(yield* lock(store, name, "owner")).answer, "it was free for one owner")
      yield* expect(isFree(yield* setNext(store, name, undefined)), "it was not free once nobody was next")
      yield* setNext(store, name, nextOf(ttl))
      yield* outlive
      yield* expect(isFree(yield* read(store, name)), "it was not free once who was next had ended")
      yield* setNext(store, name, nextOf())
      const mutex = yield* write(store, name, entryOf("owner"))
      yield* expect(mutex.fence === mutex.revision, "what one owner got had begun before")
      const { answer } = yield* read(store, name)
      yield* expect(answer?.owner === "owner", "one owner did not have what it wrote")
      yield* remove(store, name)
    }))
]

/** All of it. */
export const endLaws: ReadonlyArray<Rule> = [...holderLaws, ...nextLaws]
