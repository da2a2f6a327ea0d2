import { assert, describe, it } from "@effect/vitest"
import { Clock, Context, Duration, Effect, Exit, Fiber, Layer, Stream } from "effect"
import type { Protocol } from "effect-dlm/protocol"
import { CompareAndSet, Identities, LockServer, Store } from "effect-dlm/server"
import { StoreContract } from "effect-dlm/testing"
import { TestClock } from "effect/testing"
import { inspect } from "node:util"
import { passTime } from "../support/passTime.ts"

/** One round trip, in memory: what a script in a store across a network does. */
const attemptOver = ({ modify }: Store.Store["Service"]) =>
(
  name: string,
  cases: ReadonlyArray<CompareAndSet.Case>,
  _terms?: CompareAndSet.Terms
): Effect.Effect<CompareAndSet.Reply, unknown> => {
  const fits = (
    { expected }: CompareAndSet.Case,
    entry: Store.Entry | undefined,
    revision: bigint | undefined,
    fence: bigint | undefined
  ) => {
    switch (expected._tag) {
      case "Absent":
        return entry === undefined
      case "Owned":
        return entry?.owner === expected.owner && entry.identity === expected.identity && entry.data === undefined &&
          (expected.fence === undefined || expected.fence === fence)
      case "Revision":
        return revision === expected.revision
    }
  }
  const made = modify(name, (entry, revision, fence) => {
    const index = cases.findIndex((one) => fits(one, entry, entry === undefined ? undefined : revision, fence))
    // Each row is one owner's, also that of nobody's.
    if (entry?.limit !== undefined) throw new Error("holders came to a row")
    return {
      answer: { index, entry },
      change: index === -1 ? { _tag: "Keep" as const } : cases[index]!.change
    }
  })
  return Effect.zipWith(
    made,
    Clock.currentTimeMillis,
    ({ answer: { entry, index }, expiresIn, fence, holder, revision }, now): CompareAndSet.Reply => {
      const tenure = fence === undefined || revision === undefined ? undefined : { fence, revision, expiresIn, holder }
      if (index !== -1) return { _tag: "Made", index, tenure, now }
      return entry === undefined || tenure === undefined ? { _tag: "Free", now } : { _tag: "Found", entry, tenure, now }
    }
  )
}

type Attempt = ReturnType<typeof attemptOver>

/** A store over a memory store, each of whose round trips goes through `wrap`. */
const storeWith = (wrap: (attempt: Attempt) => Attempt) =>
  Layer.effect(
    Store.Store,
    Effect.gen(function*() {
      const memory = yield* Store.makeMemory()
      return Store.Store.of({
        modify: yield* CompareAndSet.make({
          store: "test",
          timeout: Duration.seconds(2),
          attempt: wrap(attemptOver(memory))
        }),
        sharing: { freed: Stream.never }
      })
    })
  )

describe("the laws, over one compare-and-set", () => {
  for (const { check, name } of StoreContract.laws(storeWith((attempt) => attempt))) {
    // Each is alone here: the memory beneath is not shared.
    if (!name.includes("instance")) it.effect(name, () => passTime(check))
  }
})

describe("round trips", () => {
  const counted = () => {
    let trips = 0
    const store = storeWith((attempt) => (name, cases) => {
      trips++
      return attempt(name, cases)
    })
    return {
      layer: LockServer.layer.pipe(Layer.provide([store, Identities.layerNone])),
      since: () => {
        const made = trips
        trips = 0
        return made
      }
    }
  }

  const ask = (Action: Protocol.Action, ID: string, more: Partial<Protocol.Request> = {}) =>
    LockServer.LockServer.use(({ handle }) => handle({ ID, FileName: "f", Action, Expire: 60, ...more }))

  it.effect("are one for the usual, and one more where a guess was wrong", () => {
    const { layer, since } = counted()
    return Effect.gen(function*() {
      const costs = Effect.fnUntraced(function*(
        trips: number,
        status: Protocol.Response["Status"],
        asking: ReturnType<typeof ask>,
        what: string
      ) {
        assert.strictEqual((yield* asking).Status, status, what)
        assert.strictEqual(since(), trips, what)
      })
      yield* costs(1, "Locked", ask("Lock", "me"), "a lock of a free name")
      yield* costs(1, "Locked", ask("Lock", "me"), "a renewal")
      yield* costs(1, "NotOwner", ask("Lock", "other"), "a lock of a held name")
      yield* costs(1, "NotOwner", ask("Unlock", "other"), "an unlock by a stranger")
      yield* costs(1, "Locked", ask("TestLock", "me"), "a test by its owner")
      yield* costs(1, "NotOwner", ask("TestLock", "other"), "a test by a stranger")
      yield* costs(1, "Unlocked", ask("Unlock", "me"), "an unlock")
      yield* costs(1, "Unlocked", ask("Unlock", "me"), "an unlock of a free name")
      yield* costs(1, "Unlocked", ask("TestLock", "me"), "a test of a free name")
      yield* costs(1, "Done", ask("Put", "me", { DataStore: "x" }), "a put")
      yield* costs(1, "Done", ask("Get", "me"), "a get")
      yield* costs(2, "Done", ask("Put", "me", { DataStore: "y" }), "a put over data")
      yield* costs(2, "Locked", ask("Lock", "me"), "a renewal of a lock with data")
      yield* costs(2, "Done", ask("Erase", "me"), "an erase")
      yield* costs(1, "NotFound", ask("Get", "me"), "a get of nothing")
      const tenure = Effect.map(ask("Lock", "me", { Seq: "1" }), (response) => {
        since()
        return response.Status === "Locked" ? { Fence: response.Fence! } : assert.fail(response.Status)
      })
      const first = yield* tenure
      yield* costs(1, "Locked", ask("Lock", "me", first), "a renewal of a tenure")
      yield* costs(1, "NotOwner", ask("Unlock", "me", { Fence: "1" }), "an unlock of another tenure")
      yield* costs(1, "Locked", ask("Lock", "me", { ...first, Heir: "heir" }), "the passing on of a tenure")
      yield* costs(1, "NotOwner", ask("Unlock", "me", first), "an unlock of a tenure that was passed on")
      yield* costs(1, "Unlocked", ask("Unlock", "heir"), "an unlock by an heir")
      const second = yield* tenure
      yield* costs(1, "Unlocked", ask("Unlock", "me", second), "an unlock of a tenure")
      yield* costs(1, "Unlocked", ask("Lock", "me", second), "a renewal of what is over")
      yield* costs(0, "Version", ask("Version", "me"), "the version")
    }).pipe(Effect.provide(layer))
  })
})

const buildWith = (wrap: (attempt: Attempt) => Attempt) =>
  Effect.map(Layer.build(Layer.fresh(storeWith(wrap))), (context) => Context.get(context, Store.Store))

const take = (store: Store.Store["Service"], owner: string) =>
  store.modify("f", (entry): Store.Decision<boolean> =>
    entry === undefined || entry.owner === owner
      ? {
        answer: true,
        change: { _tag: "Write", entry: { owner, identity: undefined, data: undefined }, ttlMillis: 1e5 }
      }
      : { answer: false, change: { _tag: "Keep" } }, { owner, identity: undefined, waits: false })

describe("a modify", () => {
  it.effect("is decided anew as often as others come between", () =>
    Effect.gen(function*() {
      let others = 0
      const store = yield* buildWith((attempt) => (name, cases) =>
        Effect.suspend(() => {
          // Somebody else writes before each of the first three round trips.
          const between = others++ < 3
            ? attempt(name, [
              {
                expected: { _tag: "Absent" },
                change: { _tag: "Write", entry: { owner: "x", identity: undefined, data: `${others}` }, ttlMillis: 1e5 }
              },
              ...cases.flatMap(({ expected }) =>
                expected._tag === "Revision"
                  ? [{
                    expected,
                    change: {
                      _tag: "Write" as const,
                      entry: { owner: "x", identity: undefined, data: `${others}` },
                      ttlMillis: 1e5
                    }
                  }]
                  : []
              )
            ])
            : Effect.void
          return Effect.andThen(between, attempt(name, cases))
        })
      )
      const seen: Array<string | undefined> = []
      const { answer } = yield* store.modify("f", (entry) => {
        seen.push(entry?.data)
        return {
          answer: entry?.data,
          change: { _tag: "Write", entry: { owner: "me", identity: undefined, data: "mine" }, ttlMillis: 1e5 }
        }
      })
      assert.deepStrictEqual(seen, ["1", "2", "3"])
      assert.strictEqual(answer, "3")
    }))

  it.effect("ends at its deadline, also within what cannot be interrupted, with the name that it was about", () =>
    Effect.gen(function*() {
      const store = yield* buildWith(() => () => Effect.never)
      for (const asking of [take(store, "me"), Effect.uninterruptible(take(store, "me"))]) {
        const fiber = yield* Effect.forkChild(Effect.flip(asking), { startImmediately: true })
        yield* TestClock.adjust(1_999)
        assert.isUndefined(fiber.pollUnsafe())
        yield* TestClock.adjust(1)
        const error = yield* Fiber.join(fiber)
        assert.deepInclude(error, { _tag: "StoreError", name: "f", store: "test", reason: "Timeout" })
        assert.include(error.message, "\"f\": the test store did not answer in time")
      }
    }))

  it.effect("is told to be late by the clock of the store, and changes nothing then", () =>
    Effect.gen(function*() {
      // A command is on its way for so long, also where nobody waits for its answer any more.
      let millis = 0
      const untils: Array<number | undefined> = []
      const store = yield* buildWith((attempt) => (name, cases, terms) => {
        untils.push(terms?.until)
        const arrives: ReturnType<Attempt> = Effect.gen(function*() {
          yield* Effect.sleep(millis)
          const now = yield* Clock.currentTimeMillis
          const isLate = terms?.until !== undefined && now >= terms.until
          return isLate ? { _tag: "Late", now } : yield* attempt(name, cases)
        })
        return Effect.flatMap(Effect.forkDetach(arrives, { startImmediately: true }), Fiber.join)
      })
      const removal = store.modify("f", () => ({ answer: undefined, change: { _tag: "Remove" } }), {
        owner: "me",
        identity: undefined,
        waits: false
      })
      const { fence } = yield* take(store, "me")
      yield* TestClock.adjust(10_000)
      for (const [takes, isThere] of [[2_000, true], [1_999, false]] as const) {
        millis = takes
        const asked = yield* Effect.forkChild(Effect.exit(removal), { startImmediately: true })
        yield* TestClock.adjust(2_000)
        assert.strictEqual(Exit.isSuccess(yield* Fiber.join(asked)), !isThere)
        yield* TestClock.adjust(10_000)
        millis = 0
        const seen = yield* store.modify("f", (entry) => ({ answer: entry?.owner, change: { _tag: "Keep" } }))
        assert.deepStrictEqual([seen.answer, seen.fence], isThere ? ["me", fence] : [undefined, undefined])
      }
      // Before it was told of it, nothing was known of the clock of the store.
      assert.deepStrictEqual(untils.slice(0, 2), [undefined, 12_000])
    }))

  it.effect("is made again where the store says late, and there is time by its clock as it is known then", () =>
    Effect.gen(function*() {
      let [says, attempts] = [false, 0]
      const store = yield* buildWith((attempt) => (name, cases) =>
        Effect.suspend(() => {
          attempts++
          return says && attempts % 2 === 1 ? Effect.succeed({ _tag: "Late" as const, now: 5 }) : attempt(name, cases)
        })
      )
      says = true
      const { answer, fence } = yield* take(store, "me")
      assert.isTrue(answer)
      assert.strictEqual(attempts, 2)
      assert.isDefined(fence)
    }))

  it.effect("costs a few round trips for each of many that leave a name at once, with or without a guess", () =>
    Effect.gen(function*() {
      for (const shares of [true, false, undefined]) {
        let trips = 0
        const store = yield* buildWith((attempt) => (name, cases) =>
          Effect.suspend(() => {
            trips++
            return Effect.delay(attempt(name, cases), 1)
          })
        )
        const owners = Array.from({ length: 64 }, (_, i) => `owner ${i}`)
        const each = (change: (one: string, found: ReadonlyArray<Store.Permit>) => Store.Share["holders"]) =>
          passTime(Effect.forEach(owners, (owner) =>
            store.modify("f", (found) => ({
              answer: undefined,
              change: {
                _tag: "Share",
                limit: "shared",
                holders: change(owner, found?.limit === undefined ? [] : found.holders),
                next: undefined
              }
            }), shares === undefined ? undefined : { owner, identity: undefined, waits: false, shares }), {
            concurrency: "unbounded"
          }))
        const one = {
          identity: undefined,
          weight: 1,
          label: undefined,
          since: undefined,
          fence: undefined,
          endsIn: 1e5
        }
        yield* each((owner, found) => [...found, { ...one, owner }])
        trips = 0
        yield* each((owner, found) => found.filter((one) => one.owner !== owner))
        assert.isAtMost(trips, owners.length * 3)
        const left = yield* passTime(store.modify("f", (found) => ({ answer: found, change: { _tag: "Keep" } })))
        assert.isUndefined(left.answer)
      }
    }))

  it.effect("fails on holders that it cannot read, and shows nothing of them", () =>
    Effect.gen(function*() {
      const store = yield* buildWith((attempt) => attempt)
      const change = (data: string): Store.Write => ({
        _tag: "Write",
        entry: { owner: "", identity: "\0", data },
        ttlMillis: 1e5
      })
      for (
        const data of [
          "a secret",
          "{\"limit\":5,\"holders\":[],\"secret\":1}",
          "{\"limit\":\"a secret\",\"holders\":[]}"
        ]
      ) {
        const name = `f ${data}`
        yield* store.modify(name, () => ({ answer: undefined, change: change(data) }))
        for (const shares of [undefined, false, true]) {
          const asker = shares === undefined ? undefined : { owner: "me", identity: undefined, waits: false, shares }
          const error = yield* Effect.flip(
            store.modify(name, () => ({ answer: undefined, change: { _tag: "Remove" } }), asker)
          )
          assert.deepInclude(error, { _tag: "StoreError", name, store: "test", reason: "Failed" })
          assert.include(error.message, "of a later version, or damaged")
          assert.notInclude(inspect(error.cause, { depth: 9 }), "secret")
        }
      }
    }))

  it.effect("says what the store failed with", () =>
    Effect.gen(function*() {
      const store = yield* buildWith(() => () => Effect.fail(new Error("READONLY")))
      const error = yield* Effect.flip(take(store, "me"))
      assert.isTrue(error.isRetryable)
      assert.include(error.message, "\"f\": the test store failed (READONLY)")
    }))
})

describe("the clock of the store", () => {
  /** A `modify` whose attempts are answered with these, one after the other, and what was asked. */
  const scripted = (replies: ReadonlyArray<CompareAndSet.Reply>, now?: number) => {
    const asked: Array<{ readonly cases: ReadonlyArray<CompareAndSet.Case>; readonly until: number | undefined }> = []
    return Effect.map(
      CompareAndSet.make({
        store: "test",
        timeout: Duration.seconds(2),
        now,
        attempt: (_, cases, { until }) => Effect.succeed(replies[asked.push({ cases, until }) - 1]!)
      }),
      (modify) => ({ modify, asked })
    )
  }
  const mine = { owner: "me", identity: undefined, waits: false }
  const keep = { answer: undefined, change: { _tag: "Keep" } } as const

  it.effect("says until when a command may change something, from the first on, and anew with each answer", () =>
    Effect.gen(function*() {
      const { asked, modify } = yield* scripted([{ _tag: "Free", now: 7000 }, { _tag: "Free", now: 9000 }], 5000)
      yield* TestClock.adjust(100)
      yield* modify("f", () => keep, mine)
      yield* TestClock.adjust(10)
      yield* modify("f", () => keep, mine)
      assert.deepStrictEqual(asked.map(({ until }) => until), [5000 + 100 + 2000, 7000 + 10 + 2000])
    }))

  it.effect("is not guessed before it was told", () =>
    Effect.gen(function*() {
      const { asked, modify } = yield* scripted([{ _tag: "Free", now: 7000 }, { _tag: "Free", now: 7000 }])
      yield* modify("f", () => keep, mine)
      yield* modify("f", () => keep, mine)
      assert.deepStrictEqual(asked.map(({ until }) => until), [undefined, 9000])
    }))

  it.effect("lets nobody go on with what ended before the write came, nor an heir follow", () =>
    Effect.gen(function*() {
      const mine = { owner: "me", identity: undefined, waits: false, shares: true }
      const kept = { place: 1, owner: "me", weight: 1, ttl: 60_000, since: 0, fence: "1", endsAt: 1100 }
      const other = { ...kept, place: 2, owner: "other", fence: "2", endsAt: 1050 }
      const entry = { owner: "", identity: "\0", data: JSON.stringify({ limit: 2, holders: [kept, other] }) }
      const tenure = { fence: 1n, revision: 1n, expiresIn: 60_000 }
      const renewed = (one: Store.Permit) => ({ ...one, endsIn: 60_000 })
      const heir = (one: Store.Permit) => ({ ...renewed(one), owner: "heir", since: undefined, fence: undefined })
      for (const next of [renewed, heir]) {
        const { asked, modify } = yield* scripted([
          { _tag: "Found", entry, tenure, now: 1000 },
          { _tag: "Late", now: 1200 },
          { _tag: "Free", now: 1200 }
        ], 0)
        const { answer } = yield* modify("f", (found) => {
          if (found?.limit === undefined) return { answer: "over", change: { _tag: "Keep" } }
          const holders = found.holders.map((one) => one.owner === "me" ? next(one) : one)
          return { answer: "held", change: { _tag: "Share", limit: 2, holders, next: undefined } }
        }, mine)
        assert.strictEqual(answer, "over")
        // That of the other does not count: it is left as it is.
        assert.deepStrictEqual(asked.map(({ until }) => until), [2000, 1100, 3200])
        // It looks anew, and changes nothing by what it saw before.
        assert.deepStrictEqual(asked[2]!.cases, [])
      }
    }))

  it.effect("is known better from an answer that it was too late: the same is asked again, with ends by it", () =>
    Effect.gen(function*() {
      const hour = 3_600_000
      const other = { place: 1, owner: "other", weight: 1, ttl: 60_000, since: 0, fence: "1", endsAt: 50_000 }
      const entry = { owner: "", identity: "\0", data: JSON.stringify({ limit: 2, holders: [other] }) }
      const made = { fence: 1n, revision: 2n, expiresIn: 60_000 }
      const { asked, modify } = yield* scripted([
        { _tag: "Found", entry, tenure: { ...made, revision: 1n }, now: 1000 },
        { _tag: "Late", now: 1000 + hour },
        { _tag: "Made", index: 0, tenure: made, now: 1000 + hour }
      ], 0)
      let decisions = 0
      const { answer, fence } = yield* modify("f", (entry) => {
        decisions++
        const holders = entry?.limit === undefined ? [] : entry.holders
        const me = { owner: "me", identity: undefined, weight: 1, label: undefined, since: 0, fence: undefined }
        return {
          answer: holders.length,
          change: { _tag: "Share", limit: 2, holders: [...holders, { ...me, endsIn: 30_000 }], next: undefined }
        }
      }, { ...mine, shares: true })
      assert.deepStrictEqual([answer, fence], [1, 2n])
      assert.deepStrictEqual(asked.map(({ until }) => until), [2000, 3000, 3000 + hour])
      // What was decided stands: only the clock is another.
      assert.strictEqual(decisions, 2)
      const ends = asked.slice(1).map(({ cases: [{ change } = assert.fail("no case")] }) =>
        change._tag === "Write"
          ? JSON.parse(change.entry.data!).holders.map(({ endsAt }: { endsAt?: number }) => endsAt)
          : assert.fail(change._tag)
      )
      assert.deepStrictEqual(ends, [[50_000, 31_000], [50_000, 31_000 + hour]])
    }))
})
