import { assert, describe, it } from "@effect/vitest"
import { Duration, Effect, Exit, Fiber, Layer, Logger, Option, Redacted, Schema, Stream } from "effect"
import { DistributedSemaphore, DlmError, Inspection, Lease, Locker, Talker } from "effect-dlm"
import { Identities, LockServer, Shard, Store, StoreError } from "effect-dlm/server"
import { FaultyTalker } from "effect-dlm/testing"
import { TestClock } from "effect/testing"

const secret = (letter: string) => Redacted.make(letter.repeat(1024))

const lockServer = LockServer.layer.pipe(
  Layer.provide([
    Store.layerMemory,
    Identities.layer([
      { Name: "root", Identity: secret("r"), Admin: true },
      { Name: "user", Identity: secret("u") }
    ])
  ])
)

/** Over one server: as in its own process, and as if from afar, where nothing but the proof of an identity counts. */
const talkers = Layer.unwrap(Effect.map(LockServer.LockServer, ({ handle, notices }) => {
  const far = Layer.succeed(
    Talker.Talker,
    Talker.Talker.of({
      talk: (request) => handle({ ...request, Seq: "1" }),
      features: Effect.succeed(
        new Set(["seq", "wait", "fence", "release", "label", "busy", "describe", "list", "revoke"] as const)
      ),
      notices: (listener) => notices!.listen(listener)
    })
  )
  return far
}))

const inProcess = LockServer.layerTalker.pipe(Layer.provideMerge(lockServer))
/** The same, where no notice comes. */
const withoutNotices = Layer.effect(
  Talker.Talker,
  Effect.map(Talker.Talker, ({ notices: _, ...talker }) => Talker.Talker.of(talker))
).pipe(Layer.provide(talkers), Layer.provide(lockServer))

const fromAfar = talkers.pipe(Layer.provide(lockServer))

const names = (prefix?: string) =>
  Effect.map(Stream.runCollect(Inspection.list(prefix)), (all) => all.map(({ name }) => name).toSorted())

const hold = (name: string, options?: Locker.Options) =>
  Effect.flatMap(Locker.make(name, options), (locker) => locker.acquire())

describe("Inspection", () => {
  it.effect("lists the names that are held, by prefix and page by page, and no others", () =>
    Effect.gen(function*() {
      for (let i = 0; i < 25; i++) yield* hold(`a/${i}`, { label: `host ${i}` })
      yield* hold("b/1")
      const freed = yield* Locker.make("a/freed")
      yield* freed.lock
      yield* freed.unlock
      const short = yield* Locker.make("a/short", { ttl: "1 second" })
      yield* short.lock
      yield* TestClock.adjust("2 seconds")
      // To see whether it can write the server makes a name of its own, which is none of theirs.
      const { isReady } = yield* LockServer.LockServer
      assert.isTrue(yield* isReady!)
      assert.strictEqual((yield* names()).length, 26)
      assert.deepStrictEqual(yield* names("b"), ["b/1"])
      assert.deepStrictEqual(yield* names("c"), [])
      const first = yield* Inspection.page("a/", { count: 10 })
      assert.strictEqual(first.names.length, 10)
      assert.strictEqual(first.names[3]?.label, "host 3")
      assert.strictEqual(first.names[3]?.held, 1)
      const second = yield* Inspection.page("a/", { count: 10, after: first.after })
      assert.deepStrictEqual(second.names.map(({ name }) => name), Array.from({ length: 10 }, (_, i) => `a/${i + 10}`))
      // Each place is used once: an answer that was lost must skip nothing.
      const again = yield* Effect.flip(Inspection.page("a/", { after: first.after }))
      assert.strictEqual(again._tag, "NotFound")
      const wrong = yield* Effect.flip(Inspection.page("a/", { count: 0 }))
      assert.strictEqual(wrong._tag, "InvalidOption")
    }).pipe(Effect.scoped, Effect.provide(inProcess)))

  it.effect("goes on with a list while names come and go, and forgets one that nobody goes on with", () =>
    Effect.gen(function*() {
      for (let i = 0; i < 30; i++) yield* hold(`n/${i}`, { ttl: "5 minutes" })
      const first = yield* Inspection.page("n/", { count: 10 })
      for (let i = 30; i < 60; i++) yield* hold(`n/${i}`, { ttl: "5 minutes" })
      const rest = yield* Inspection.page("n/", { after: first.after })
      const seen = new Set([...first.names, ...rest.names].map(({ name }) => name))
      for (let i = 0; i < 30; i++) assert.isTrue(seen.has(`n/${i}`), `n/${i}`)
      const idle = yield* Inspection.page("n/", { count: 10 })
      yield* TestClock.adjust("12 seconds")
      assert.strictEqual((yield* Effect.flip(Inspection.page("n/", { after: idle.after })))._tag, "NotFound")
    }).pipe(Effect.scoped, Effect.provide(inProcess)))

  it.effect("tells what changes among the names, and that a revocation is a change", () =>
    Effect.gen(function*() {
      yield* hold("w/1", { ttl: "10 minutes" })
      const seen: Array<Inspection.Changes> = []
      const watching = yield* Inspection.watchAll("w/").pipe(
        Stream.runForEach((changes) => Effect.sync(() => seen.push(changes))),
        Effect.forkChild
      )
      yield* TestClock.adjust("1 second")
      assert.deepStrictEqual(seen.map(({ changed }) => changed.map(({ name }) => name)), [["w/1"]])
      const two = yield* Locker.make("w/2")
      yield* two.lock
      yield* TestClock.adjust("1 second")
      assert.deepStrictEqual(seen[1]?.changed.map(({ name }) => name), ["w/2"])
      yield* two.unlock
      yield* TestClock.adjust("1 second")
      assert.deepStrictEqual(seen[2], { changed: [], gone: ["w/2"] })
      yield* Inspection.revoke("w/1", { reason: "why not" })
      yield* TestClock.adjust("1 second")
      assert.strictEqual(seen[3]?.changed[0]?.revoked, "why not")
      yield* TestClock.adjust("10 seconds")
      assert.strictEqual(seen.length, 4)
      yield* Fiber.interrupt(watching)
    }).pipe(Effect.scoped, Effect.provide(inProcess)))

  it.effect("looks again soon after the server was away, however long", () =>
    Effect.gen(function*() {
      const faults = yield* FaultyTalker.Faults
      const seen: Array<string> = []
      const watching = yield* Inspection.watchAll("w/").pipe(
        Stream.runForEach(({ changed }) => Effect.sync(() => seen.push(...changed.map(({ name }) => name)))),
        Effect.forkChild
      )
      yield* TestClock.adjust("1 second")
      yield* faults.set({ refuse: 1 })
      yield* TestClock.adjust("1 minute")
      yield* faults.clear
      yield* TestClock.adjust("1 minute")
      yield* hold("w/1")
      yield* TestClock.adjust("1 second")
      assert.deepStrictEqual(seen, ["w/1"])
      yield* Fiber.interrupt(watching)
    }).pipe(Effect.scoped, Effect.provide(FaultyTalker.layerOver(inProcess))))

  it.effect("watches a name: its holder, its waiters, its end", () =>
    Effect.gen(function*() {
      const seen: Array<string> = []
      yield* Inspection.watch("f").pipe(
        Stream.runForEach(({ holders, waiting }) => Effect.sync(() => seen.push(`${holders.length}/${waiting}`))),
        Effect.forkScoped
      )
      yield* TestClock.adjust("100 millis")
      const one = yield* Locker.make("f")
      yield* one.lock
      yield* TestClock.adjust("100 millis")
      const waiting = yield* Effect.forkChild(Lease.use("f", { wait: "1 minute" }, () => Effect.never))
      yield* TestClock.adjust("100 millis")
      yield* one.unlock
      yield* TestClock.adjust("100 millis")
      yield* Fiber.interrupt(waiting)
      yield* TestClock.adjust("30 seconds")
      assert.deepStrictEqual(seen, ["0/0", "1/0", "1/1", "1/0", "0/0"])
    }).pipe(Effect.scoped, Effect.provide(inProcess)))
})

describe("Inspection.revoke", () => {
  it.effect("loses the lease at once as Revoked, and keeps the name taken until its end", () =>
    Effect.gen(function*() {
      const body = yield* Effect.forkChild(Effect.exit(Effect.never.pipe(Lease.withLock("f", { ttl: "30 seconds" }))))
      yield* TestClock.adjust("1 second")
      assert.strictEqual(yield* Inspection.revoke("f", { reason: "the disk is full" }), 1)
      // Without any time: its connection is told.
      const exit = yield* Fiber.join(body)
      assert.isTrue(Exit.isFailure(exit))
      const loss = Exit.isFailure(exit) ? exit.cause.reasons.find((reason) => reason._tag === "Fail")?.error : undefined
      assert.instanceOf(loss, DlmError.LeaseLost)
      assert.strictEqual(loss?.reason._tag, "Revoked")
      assert.include(loss?.message, "the disk is full")
      // Its owner has given it back, since its body has ended.
      assert.strictEqual((yield* Inspection.describe("f")).holders.length, 0)
    }).pipe(Effect.provide(inProcess)))

  it.effect("is kept by one that does not end: not renewed, not taken by another before its end, and shown", () =>
    Effect.gen(function*() {
      const one = yield* Locker.make("f", { ttl: "30 seconds", id: "me" })
      yield* one.lock
      yield* TestClock.adjust("10 seconds")
      yield* Inspection.revoke("f", { reason: "enough" })
      const refused = yield* Effect.flip(one.lock)
      assert.strictEqual(refused._tag, "NotOwner")
      assert.include(refused.message, "enough")
      const { holders: [holder] } = yield* Inspection.describe("f")
      assert.strictEqual(holder?.revoked, "enough")
      assert.deepStrictEqual(holder?.expiresIn, Duration.seconds(20))
      const other = yield* Locker.make("f")
      assert.isTrue(Option.isNone(yield* other.tryLock))
      yield* TestClock.adjust("19999 millis")
      assert.isTrue(Option.isNone(yield* other.tryLock))
      yield* TestClock.adjust("1 millis")
      assert.isTrue(Option.isSome(yield* other.tryLock))
    }).pipe(Effect.provide(inProcess)))

  it.effect("may be ended by its owner, and by nobody else", () =>
    Effect.gen(function*() {
      const one = yield* Locker.make("f", { id: "me" })
      const other = yield* Locker.make("f", { id: "you" })
      yield* one.put("data")
      yield* Inspection.revoke("f", { reason: "enough" })
      assert.strictEqual((yield* Effect.flip(other.unlock))._tag, "NotOwner")
      assert.strictEqual((yield* Effect.flip(one.get))._tag, "NotOwner")
      assert.strictEqual((yield* Effect.flip(one.put("more")))._tag, "NotOwner")
      assert.strictEqual(yield* one.holder, "Another")
      assert.isTrue(yield* one.unlock)
      assert.isTrue(Option.isSome(yield* other.tryLock))
    }).pipe(Effect.provide(inProcess)))

  it.effect("by force frees the name at once, and a waiter has it", () =>
    Effect.gen(function*() {
      const one = yield* Locker.make("f", { ttl: "5 minutes" })
      yield* one.lock
      const waiting = yield* Effect.forkChild(
        Lease.use("f", { wait: "1 minute" }, ({ fence }) => Effect.succeed(fence))
      )
      yield* TestClock.adjust("1 second")
      yield* Inspection.revoke("f", { reason: "killed", force: true })
      assert.isDefined(yield* Fiber.join(waiting))
    }).pipe(Effect.provide(inProcess)))

  it.effect("is about one tenure where a fence is named, of many where not, and says where there is none", () =>
    Effect.gen(function*() {
      const first = yield* hold("f")
      const fence = yield* Effect.fromOption(first.fence)
      assert.strictEqual(
        (yield* Effect.flip(Inspection.revoke("f", { reason: "x", fence: fence + 1n })))._tag,
        "NotFound"
      )
      assert.strictEqual((yield* Effect.flip(Inspection.revoke("g", { reason: "x" })))._tag, "NotFound")
      assert.strictEqual(yield* Inspection.revoke("f", { reason: "x", fence }), 1)
      assert.strictEqual(yield* first.state, "Lost")
      // Once more it says so, and keeps the first reason.
      assert.strictEqual(yield* Inspection.revoke("f", { reason: "y", fence }), 1)
      assert.strictEqual((yield* Inspection.describe("f")).holders[0]?.revoked, "x")
      for (const reason of ["", " ", "é".repeat(129)]) {
        assert.strictEqual((yield* Effect.flip(Inspection.revoke("f", { reason })))._tag, "InvalidOption")
      }
    }).pipe(Effect.scoped, Effect.provide(inProcess)))

  it.effect("of a name with permits is about each of its holders, and by force about none that comes after", () =>
    Effect.gen(function*() {
      const permits = yield* DistributedSemaphore.make("p", { permits: 2 })
      const held = yield* Effect.all([1, 2].map(() => Lease.acquire(permits.claim(1))))
      yield* Inspection.revoke("p", { reason: "one", fence: yield* Effect.fromOption(held[0]!.fence) })
      assert.deepStrictEqual([yield* held[0]!.state, yield* held[1]!.state], ["Lost", "Held"])
      assert.strictEqual((yield* Inspection.page("p")).names[0]?.held, 2)
      const next = yield* Effect.forkChild(
        Effect.scoped(Lease.use(permits.claim(1), { wait: "1 minute" }, () => Effect.never))
      )
      yield* TestClock.adjust("1 second")
      assert.strictEqual(yield* Inspection.revoke("p", { reason: "all", force: true }), 2)
      yield* TestClock.adjust("1 second")
      const { holders } = yield* Inspection.describe("p")
      assert.deepStrictEqual(holders.map(({ revoked }) => revoked), [undefined])
      yield* Fiber.interrupt(next)
    }).pipe(Effect.scoped, Effect.provide(inProcess)))

  it.effect("from afar is an admin's alone", () =>
    Effect.gen(function*() {
      const lease = yield* hold("f")
      const by = (name: string, letter: string) =>
        Inspection.revoke("f", { reason: "x", identity: { name, secret: secret(letter) } })
      assert.strictEqual((yield* Effect.flip(Inspection.revoke("f", { reason: "x" })))._tag, "Refused")
      assert.strictEqual((yield* Effect.flip(by("user", "u")))._tag, "Refused")
      assert.strictEqual((yield* Effect.flip(by("root", "u")))._tag, "Refused")
      assert.strictEqual(yield* lease.state, "Held")
      assert.strictEqual(yield* by("root", "r"), 1)
      assert.strictEqual(yield* lease.state, "Lost")
    }).pipe(Effect.scoped, Effect.provide(fromAfar)))

  it.effect("works where memory is full", () =>
    Effect.gen(function*() {
      const one = yield* Locker.make("f")
      yield* one.lock
      const { handle } = yield* LockServer.LockServer
      const fill = (i: number) => handle({ ID: "me", FileName: `more/${i}`, Action: "Lock", Expire: 30 })
      let held = 0
      while ((yield* fill(held)).Status === "Locked") held++
      assert.isAbove(held, 3)
      assert.strictEqual(yield* Inspection.revoke("f", { reason: "x".repeat(200) }), 1)
    }).pipe(Effect.provide(LockServer.layerTalker.pipe(
      Layer.provideMerge(LockServer.layer),
      Layer.provide([Store.layerMemoryWith({ maxStoredBytes: 4096 }), Identities.layerNone])
    ))))

  it.effect("is heard of at once from each server that has a share of the names", () =>
    Effect.gen(function*() {
      const names = Array.from({ length: 8 }, (_, i) => `f${i}`)
      const leases = yield* Effect.forEach(names, (name) => hold(name, { ttl: "30 seconds" }))
      yield* TestClock.adjust("1 second")
      for (const [i, name] of names.entries()) {
        const [others, lease] = [leases.slice(i + 1), leases[i]!]
        yield* Inspection.revoke(name, { reason: `enough of ${name}` })
        const { reason } = yield* Effect.flip(lease.lost)
        assert.strictEqual(reason._tag === "Revoked" && reason.why, `enough of ${name}`)
        for (const other of others) assert.strictEqual(yield* other.state, "Held")
      }
    }).pipe(
      Effect.scoped,
      Effect.provide(Talker.layerSharded(["a", "b"].map((name) => ({
        name,
        talker: Layer.fresh(LockServer.layerTalkerMemory.pipe(Layer.provide(Shard.layer({ name, of: ["a", "b"] }))))
      }))))
    ))

  it.effect("is heard of by what keeps data with the lease, where no notice came", () =>
    Effect.gen(function*() {
      const lease = yield* hold("f")
      const identity = { name: "root", secret: secret("r") }
      assert.strictEqual(yield* Inspection.revoke("f", { reason: "enough", identity }), 1)
      assert.strictEqual(yield* lease.state, "Held")
      yield* Effect.flip(lease.cell(Schema.String).set("more"))
      const { reason } = yield* Effect.flip(lease.lost)
      assert.strictEqual(reason._tag === "Revoked" && reason.why, "enough")
    }).pipe(Effect.scoped, Effect.provide(withoutNotices)))

  it.effect("that the store has carried out, and not answered, is told by the next", () =>
    Effect.gen(function*() {
      const memory = yield* Store.makeMemory()
      let loses = false
      // What is done, and then not answered, once.
      const modify: Store.Store["Service"]["modify"] = (name, decide, asker) =>
        Effect.flatMap(memory.modify(name, decide, asker), (outcome) => {
          if (!loses) return Effect.succeed(outcome)
          loses = false
          return Effect.fail(new StoreError.StoreError({ name, store: "given", reason: "Timeout" }))
        })
      const logged: Array<string> = []
      const logger = Logger.make(({ message }) => void logged.push(String(message)))
      yield* Effect.gen(function*() {
        const lease = yield* hold("f")
        const fence = yield* Effect.fromOption(lease.fence)
        const revoking = yield* Effect.forkChild(Inspection.revoke("f", { reason: "enough", fence }))
        loses = true
        yield* TestClock.adjust("5 seconds")
        assert.strictEqual(yield* Fiber.join(revoking), 1)
        assert.strictEqual((yield* Effect.flip(lease.lost)).reason._tag, "Revoked")
        assert.deepStrictEqual(logged.flatMap((line) => /may have revoked|revoked before/.exec(line) ?? []), [
          "may have revoked",
          "revoked before"
        ])
      }).pipe(
        Effect.scoped,
        Effect.provide(LockServer.layerTalker.pipe(
          Layer.provide(LockServer.layer),
          Layer.provide([Layer.succeed(Store.Store, { modify }), Identities.layerNone])
        )),
        Effect.provide(Logger.layer([logger]))
      )
    }).pipe(Effect.scoped))

  it.effect("says so to whoever takes up what was revoked", () =>
    Effect.gen(function*() {
      const token = yield* Effect.flatMap(hold("f"), ({ detach }) => detach)
      yield* Inspection.revoke("f", { reason: "enough" })
      const gone = yield* Effect.flip(Locker.resume(token))
      assert.strictEqual(gone._tag === "LeaseLost" && gone.reason._tag, "Revoked")
    }).pipe(Effect.scoped, Effect.provide(inProcess)))

  it.effect("lets no owner hold twice by an heir", () =>
    Effect.gen(function*() {
      const { handle } = yield* LockServer.LockServer
      const ask = (ID: string, fields: object) =>
        handle({ Seq: "1", ID, FileName: "p", Action: "Lock", Expire: 30, Limit: "3", ...fields })
      yield* ask("heir", {})
      yield* Inspection.revoke("p", { reason: "enough" })
      const giver = yield* ask("giver", {})
      assert(giver.Status === "Locked")
      const passed = yield* ask("giver", { Fence: giver.Fence, Heir: "heir" })
      assert.strictEqual(passed.Status, "NotOwner")
    }).pipe(Effect.provide(inProcess)))
})

describe("a server that lies", () => {
  it.effect("about where a list ended is told of, and not asked for ever", () =>
    Effect.gen(function*() {
      const talk = () => Effect.succeed({ Status: "Listed", Names: [], After: "again" } as const)
      const features = Effect.succeed(new Set(["list"] as const))
      const talker = Layer.succeed(Talker.Talker, Talker.Talker.of({ talk, features }))
      const error = yield* Effect.flip(Stream.runDrain(Inspection.list()).pipe(Effect.provide(talker)))
      assert.strictEqual(error._tag, "ProtocolError")
    }))

  it.effect("by a terminal's own characters changes no terminal", () =>
    Effect.sync(() => {
      const hostile = "\u001b]0;owned\u0007\u009b2J\u202e"
      const errors = [
        new DlmError.Deadlock({ name: hostile, cycle: [{ name: hostile, label: hostile }] }),
        new DlmError.NotOwner({ name: hostile, action: "Lock", revoked: hostile }),
        new DlmError.Revoked({ why: hostile })
      ]
      for (const { message } of errors) assert.notMatch(message, /[\p{Cc}\p{Cf}]/u)
    }))
})
