/**
 * What Locker, Lease and Cell do over any Talker that has a lock server behind it.
 */
import { assert, it } from "@effect/vitest"
import {
  Deferred,
  Duration,
  Effect,
  Exit,
  Fiber,
  identity,
  type Layer,
  Option,
  Ref,
  Schema,
  type Scope,
  Tracer
} from "effect"
import { Cell, DataCodec, DlmError, Lease, Locker, Talker } from "effect-dlm"
import { passTime } from "./passTime.ts"

let names = 0
/** A name that no other test uses. */
export const freshName = (): string => `contract/${process.pid}/${names++} – ключ 🔑`

export const contract = <E>(
  layer: Layer.Layer<Talker.Talker, E>,
  /** By the test's clock, which goes on by itself, unless the test services are excluded. */
  options: { readonly excludeTestServices: boolean } = { excludeTestServices: false }
): void => {
  const inTime = options.excludeTestServices ? identity : passTime
  it.layer(layer, options)(({ effect }) => {
    const it = {
      effect: <A, E>(name: string, body: () => Effect.Effect<A, E, Talker.Talker | Scope.Scope>) =>
        effect(name, () => inTime(body()))
    }
    it.effect("locks, tells who holds, and unlocks", () =>
      Effect.gen(function*() {
        const name = freshName()
        const [mine, other] = yield* Effect.all([Locker.make(name), Locker.make(name)])
        assert.strictEqual(yield* mine.holder, "Nobody")
        assert.isFalse(yield* mine.isLocked)
        const grant = yield* mine.lock
        assert.strictEqual(grant.id, yield* mine.id)
        assert.strictEqual(yield* mine.holder, "Me")
        assert.strictEqual(yield* other.holder, "Another")
        assert.isTrue(yield* other.isLocked)
        assert.strictEqual((yield* Effect.flip(other.lock))._tag, "NotOwner")
        assert.isTrue(Option.isNone(yield* other.tryLock))
        assert.strictEqual((yield* Effect.flip(other.unlock))._tag, "NotOwner")
        assert.isTrue(yield* mine.unlock)
        assert.isFalse(yield* mine.unlock)
        assert.isTrue(Option.isSome(yield* other.tryLock))
        assert.isTrue(yield* other.unlock)
      }))

    it.effect("describes who holds a name, as far as the server tells, and says when that changes", () =>
      Effect.gen(function*() {
        const name = freshName()
        const { features = Effect.succeed(new Set<string>()), talk } = yield* Talker.Talker
        const isTold = (yield* features).has("describe")
        const [mine, other] = yield* Effect.all([Locker.make(name, { label: "api-1" }), Locker.make(name)])
        assert.deepStrictEqual((yield* other.describe).holders, [])
        const { fence } = yield* mine.lock
        const { holders, revision, waiting } = yield* other.describe
        assert.strictEqual(holders.length, 1)
        if (isTold) {
          assert.strictEqual(holders[0]!.label, "api-1")
          assert.strictEqual(holders[0]!.fence, Option.getOrThrow(fence))
          assert.isDefined(holders[0]!.since)
          assert.strictEqual(waiting, 0)
          const watching = yield* Effect.forkChild(
            talk({ ID: "", FileName: name, Action: "Describe", Expire: 0, Revision: revision!, Wait: 30_000 }),
            { startImmediately: true }
          )
          // It neither owns nor waits, and so keeps nobody from anything.
          assert.strictEqual(yield* mine.holder, "Me")
          assert.strictEqual((yield* other.describe).revision, revision)
          assert.isTrue(yield* mine.unlock)
          const changed = yield* Fiber.join(watching)
          assert.deepStrictEqual(changed.Status === "Described" && changed.Holders, [])
        }
        yield* mine.unlock
        assert.deepStrictEqual((yield* other.describe).holders, [])
      }))

    it.effect("takes a new owner for each tenure, and keeps the caller's own", () =>
      Effect.gen(function*() {
        const locker = yield* Locker.make(freshName())
        const first = yield* locker.lock
        assert.strictEqual((yield* locker.lock).id, first.id)
        yield* locker.unlock
        assert.notStrictEqual((yield* locker.lock).id, first.id)
        yield* locker.unlock
        const own = yield* Locker.make(freshName(), { id: "own" })
        yield* own.lock
        yield* own.unlock
        assert.strictEqual((yield* own.lock).id, "own")
        yield* own.unlock
      }))

    it.effect("puts, gets and erases text", () =>
      Effect.gen(function*() {
        const name = freshName()
        const locker = yield* Locker.make(name)
        assert.strictEqual((yield* Effect.flip(locker.get))._tag, "NotFound")
        assert.strictEqual((yield* Effect.flip(locker.erase))._tag, "NotFound")
        for (const text of ["", "répertoire 🔑\u0000\n", "x".repeat(8192)]) {
          yield* locker.put(text)
          assert.strictEqual(yield* locker.get, text)
        }
        const other = yield* Locker.make(name)
        assert.strictEqual((yield* Effect.flip(other.get))._tag, "NotOwner")
        assert.strictEqual((yield* Effect.flip(other.put("mine")))._tag, "NotOwner")
        assert.strictEqual((yield* Effect.flip(other.erase))._tag, "NotOwner")
        yield* locker.erase
        assert.strictEqual((yield* Effect.flip(locker.get))._tag, "NotFound")
        yield* locker.lock
        assert.strictEqual((yield* Effect.flip(locker.get))._tag, "NoData")
        yield* locker.put("attached")
        assert.strictEqual(yield* locker.get, "attached")
        assert.strictEqual(yield* locker.holder, "Me")
        yield* locker.unlock
        yield* locker.lock
        assert.strictEqual((yield* Effect.flip(locker.erase))._tag, "Corruption")
      }))

    it.effect("is refused what is over a limit, and says so", () =>
      Effect.gen(function*() {
        const locker = yield* Locker.make(freshName(), { ttl: "2 hours" })
        assert.strictEqual((yield* Effect.flip(locker.lock))._tag, "Refused")
        const large = yield* Locker.make(freshName())
        assert.strictEqual((yield* Effect.flip(large.put("x".repeat(8193))))._tag, "Refused")
      }))

    it.effect("knows the server", () =>
      Effect.gen(function*() {
        const locker = yield* Locker.make(freshName())
        assert.include(yield* locker.version, "JackrabbitDLM/")
        assert.isTrue(yield* locker.isDlm)
      }))

    it.effect("keeps typed data in a cell, through each codec", () =>
      Effect.gen(function*() {
        const Progress = Schema.Struct({ done: Schema.Int, at: Schema.Date })
        const at = new Date("2026-01-02T03:04:05Z")
        const key = yield* DataCodec.aesKey(new Uint8Array(32).fill(7))
        for (
          const codec of [DataCodec.wire, DataCodec.base64, DataCodec.gzip(), DataCodec.gzip(DataCodec.aesGcm(key))]
        ) {
          const cell = Cell.make(yield* Locker.make(freshName(), { codec }), Progress)
          assert.isTrue(Option.isNone(yield* cell.get))
          yield* cell.set({ done: 1, at })
          assert.deepStrictEqual(yield* cell.get, Option.some({ done: 1, at }))
          yield* Effect.all(
            Array.from({ length: 5 }, () =>
              cell.update(Option.match({
                onNone: () => ({ done: 0, at }),
                onSome: ({ done }) => ({ done: done + 1, at })
              }))),
            { concurrency: "unbounded" }
          )
          assert.deepStrictEqual(yield* cell.get, Option.some({ done: 6, at }))
          yield* cell.erase
          yield* cell.erase
          assert.isTrue(Option.isNone(yield* cell.get))
        }
      }))

    it.effect("lets one at a time in, of many lockers and of many fibers of one", () =>
      Effect.gen(function*() {
        const name = freshName()
        const shared = yield* Locker.make(name)
        const inside = yield* Ref.make(0)
        const entered = yield* Ref.make(0)
        const body = Effect.gen(function*() {
          assert.strictEqual(yield* Ref.updateAndGet(inside, (n) => n + 1), 1)
          yield* Effect.yieldNow
          yield* Ref.update(entered, (n) => n + 1)
          yield* Ref.update(inside, (n) => n - 1)
        })
        const own = Effect.flatMap(Locker.make(name), (locker) => Lease.withLock(body, locker))
        yield* Effect.all(
          [...Array.from({ length: 5 }, () => own), ...Array.from({ length: 5 }, () => Lease.withLock(body, shared))],
          { concurrency: "unbounded" }
        )
        assert.strictEqual(yield* Ref.get(entered), 10)
        assert.strictEqual(yield* shared.holder, "Nobody")
      }))

    it.effect("holds while the body runs, and releases whatever comes of it", () =>
      Effect.gen(function*() {
        const name = freshName()
        const observer = yield* Locker.make(name)
        const locker = yield* Locker.make(name)
        const seen = yield* Effect.exit(
          Effect.andThen(observer.holder, (holder) => Effect.fail(holder)).pipe(Lease.withLock(locker))
        )
        assert.deepStrictEqual(seen, Exit.fail("Another" as const))
        assert.strictEqual(yield* observer.holder, "Nobody")

        const running = yield* Deferred.make<void>()
        const fiber = yield* Deferred.succeed(running, undefined).pipe(
          Effect.andThen(Effect.never),
          Lease.withLock(locker),
          Effect.forkChild
        )
        yield* Deferred.await(running)
        assert.strictEqual(yield* observer.holder, "Another")
        yield* Fiber.interrupt(fiber)
        assert.strictEqual(yield* observer.holder, "Nobody")

        const died = yield* Effect.exit(Lease.withLock(Effect.die("boom"), locker))
        assert.deepStrictEqual(died, Exit.die("boom"))
        assert.strictEqual(yield* observer.holder, "Nobody")
      }))

    it.effect("waits no longer than it may", () =>
      Effect.gen(function*() {
        const name = freshName()
        const holder = yield* Locker.make(name)
        const waiter = yield* Locker.make(name)
        yield* holder.lock
        for (const wait of ["0 millis", "50 millis"] as const) {
          const error = yield* Effect.flip(Lease.withLock(Effect.void, waiter, { wait }))
          assert.strictEqual(error._tag, "AcquireTimeout")
        }
        assert.isTrue(yield* holder.unlock)
        yield* Lease.withLock(Effect.void, waiter, { wait: "0 millis" })
      }))

    it.effect("runs under the lease that it has: nested, in forked fibers, and no longer than it lasts", () =>
      Effect.gen(function*() {
        const locker = yield* Locker.make(freshName())
        const Held = Lease.tag("contract")
        const id = Effect.map(Held, ({ id }) => id)
        const ids = yield* Effect.gen(function*() {
          const outer = yield* id
          const nested = yield* Lease.withLockProvided(id, Held, locker, { wait: 0 })
          const forked = yield* Effect.forkChild(Lease.withLockProvided(id, Held, locker, { wait: 0 }))
          return [outer, nested, yield* Fiber.join(forked)]
        }).pipe(Lease.withLockProvided(Held, locker))
        assert.strictEqual(new Set(ids).size, 1)
        assert.strictEqual(yield* locker.holder, "Nobody")

        const gate = yield* Deferred.make<void>()
        const late = yield* Lease.withLock(
          Effect.forkDetach(Effect.andThen(Deferred.await(gate), Lease.withLock(locker.holder, locker))),
          locker
        )
        yield* Deferred.succeed(gate, undefined)
        assert.strictEqual(yield* Fiber.join(late), "Me")
        assert.strictEqual(yield* locker.holder, "Nobody")
      }))

    it.effect("tries without waiting", () =>
      Effect.gen(function*() {
        const name = freshName()
        const [one, other] = yield* Effect.all([Locker.make(name), Locker.make(name)])
        const inner = Lease.withLockIfAvailable(Effect.succeed("ran"), other)
        assert.deepStrictEqual(yield* inner, Option.some("ran"))
        // In one fiber tree a name is held once, by whatever Locker.
        assert.deepStrictEqual(yield* Lease.withLockIfAvailable(inner, one), Option.some(Option.some("ran")))
        yield* other.lock
        assert.deepStrictEqual(yield* Lease.withLockIfAvailable(Effect.succeed("ran"), one), Option.none())
        yield* other.unlock
        assert.deepStrictEqual(
          yield* Effect.flip(Lease.withLockIfAvailable(
            Effect.fail(
              new DlmError.AcquireTimeout({
                name: "the body's own",
                waited: Duration.zero
              })
            ),
            one
          )).pipe(Effect.map((error) => "name" in error && error.name)),
          "the body's own"
        )
      }))

    it.effect("takes several locks, in one order, all or none", () =>
      Effect.gen(function*() {
        const names = [freshName(), freshName(), freshName()]
        const make = Effect.forEach(names, (name) => Locker.make(name))
        const [mine, others] = yield* Effect.all([make, make])
        const held = yield* Effect.forEach(others, ({ holder }) => holder).pipe(Lease.withLocks(mine))
        assert.deepStrictEqual(held, ["Another", "Another", "Another"])
        assert.deepStrictEqual(yield* Effect.forEach(others, ({ holder }) => holder), ["Nobody", "Nobody", "Nobody"])

        yield* others[2]!.lock
        const error = yield* Effect.flip(Lease.withLocks(Effect.void, mine, { wait: 0 }))
        assert.strictEqual(error._tag === "AcquireTimeout" && error.name, names[2])
        assert.deepStrictEqual(yield* Effect.forEach(others, ({ holder }) => holder), ["Nobody", "Nobody", "Me"])
        yield* others[2]!.unlock

        // In whatever order they are named, two that want the same ones do not block each other.
        yield* Effect.all(
          Array.from({ length: 6 }, (_, i) =>
            Effect.flatMap(make, (lockers) =>
              Lease.withLocks(Effect.yieldNow, i % 2 === 0 ? lockers : lockers.toReversed()))),
          { concurrency: "unbounded" }
        )
        // Two Lockers of one name are one lock.
        yield* Lease.withLocks(Effect.void, [mine[0]!, others[0]!])
      }))

    it.effect("proves to the type checker that a lock is held", () =>
      Effect.gen(function*() {
        const Orders = Lease.tag("orders")
        const guarded: Effect.Effect<string, never, Lease.Held<"orders">> = Effect.map(
          Orders,
          ({ name }) => name
        )
        const locker = yield* Locker.make(freshName())
        const runs = (_program: Effect.Effect<string>) => {}
        // @ts-expect-error what needs the proof does not run without it
        runs(guarded)
        assert.strictEqual(yield* guarded.pipe(Lease.withLockProvided(Orders, locker)), locker.name)
      }))

    it.effect("proves that each of several locks is held, or of one that is free", () =>
      Effect.gen(function*() {
        const Orders = Lease.tag("orders")
        const Stock = Lease.tag("stock")
        const guarded = Effect.all([Orders, Stock]).pipe(Effect.map((leases) => leases.map(({ name }) => name)))
        const orders = yield* Locker.make(freshName())
        const stock = freshName()
        const program = guarded.pipe(Lease.withLocksProvided([[Orders, orders], [Stock, stock]]))
        assert.deepStrictEqual(yield* program, [orders.name, stock])
        const ifFree = Effect.map(Orders, ({ name }) => name).pipe(Lease.withLockProvidedIfAvailable(Orders, orders))
        assert.deepStrictEqual(yield* ifFree, Option.some(orders.name))
      }))

    it.effect("keeps data with a lease", () =>
      Effect.gen(function*() {
        const locker = yield* Locker.make(freshName())
        yield* Effect.gen(function*() {
          const lease = yield* locker.acquire()
          const cell = lease.cell(Schema.Int)
          assert.isTrue(Option.isNone(yield* cell.get))
          yield* cell.set(1)
          assert.strictEqual(yield* cell.update(Option.match({ onNone: () => 0, onSome: (n) => n + 1 })), 2)
          assert.strictEqual(yield* locker.holder, "Me")
        }).pipe(Effect.scoped)
        assert.strictEqual((yield* Effect.flip(locker.get))._tag, "NotFound")
      }))

    it.effect("hands a lease over, and takes up only what is still held", () =>
      Effect.gen(function*() {
        const name = freshName()
        const locker = yield* Locker.make(name)
        const observer = yield* Locker.make(name)
        const detached = yield* Effect.gen(function*() {
          const lease = yield* locker.acquire()
          const token = yield* lease.detach
          assert.strictEqual(yield* lease.state, "Released")
          return { token, fence: lease.fence }
        }).pipe(Effect.scoped)
        assert.strictEqual(yield* observer.holder, "Another")

        // As it would go to another process.
        const json = Schema.fromJsonString(Lease.Token)
        const token = yield* Schema.decodeEffect(json)(yield* Schema.encodeEffect(json)(detached.token))
        yield* Effect.gen(function*() {
          const lease = yield* Locker.resume(token, { once: false })
          // By an heir of its own, where the server knows what that is.
          if (lease.id === token.id) assert.deepStrictEqual(lease.fence, detached.fence)
          else assert.isTrue(Option.getOrThrow(lease.fence) > Option.getOrThrow(detached.fence))
          assert.strictEqual(yield* observer.holder, "Another")
        }).pipe(Effect.scoped)
        assert.strictEqual(yield* observer.holder, "Nobody")

        const gone = yield* Effect.flip(Effect.scoped(Locker.resume(token, { once: false })))
        assert.strictEqual(gone._tag, "LeaseLost")
        yield* observer.lock
        assert.strictEqual((yield* Effect.flip(Effect.scoped(Locker.resume(token, { once: false }))))._tag, "LeaseLost")
        assert.strictEqual(yield* observer.holder, "Me")
      }))

    it.effect("links the span of whoever waits to that of the holder, where the server tells of it", () =>
      Effect.gen(function*() {
        const name = freshName()
        const { features = Effect.succeed(new Set<string>()) } = yield* Talker.Talker
        const spans: Array<Tracer.NativeSpan> = []
        const tracer = Tracer.make({
          span: (options) => {
            const span = new Tracer.NativeSpan(options)
            spans.push(span)
            return span
          }
        })
        const holder = yield* Locker.make(name, { label: "api-1" })
        yield* Effect.provideService(Effect.withSpan(holder.lock, "job"), Tracer.Tracer, tracer)
        const waiting = yield* Effect.forkChild(
          Effect.provideService(Lease.withLock(Effect.void, name), Tracer.Tracer, tracer),
          { startImmediately: true }
        )
        if ((yield* features).has("wait")) {
          yield* Effect.repeat(holder.describe, { until: ({ waiting }) => waiting === 1 })
        } else yield* Effect.yieldNow
        yield* holder.unlock
        yield* Fiber.join(waiting)
        const [job, acquired] = ["job", "Lease.acquire"].map((name) => spans.find((span) => span.name === name)!)
        const links = acquired!.links.map(({ attributes, span: { spanId, traceId } }) => [traceId, spanId, attributes])
        const isTold = (yield* features).has("trace")
        assert.deepStrictEqual(links, isTold ? [[job!.traceId, job!.spanId, { name }]] : [])
      }))

    it.effect("leaves nothing behind when a waiter is interrupted", () =>
      Effect.gen(function*() {
        const name = freshName()
        const holder = yield* Locker.make(name)
        const waiter = yield* Locker.make(name)
        yield* holder.lock
        const waiting = yield* Effect.forkChild(Lease.withLock(Effect.void, waiter), { startImmediately: true })
        yield* holder.holder
        yield* Fiber.interrupt(waiting)
        yield* holder.unlock
        assert.strictEqual(yield* holder.holder, "Nobody")
        yield* Lease.withLock(Effect.void, waiter, { wait: "0 millis" })
      }))
  })
}
