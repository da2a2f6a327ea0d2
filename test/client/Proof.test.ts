import { assert, describe, it } from "@effect/vitest"
import { Effect, Layer, Option } from "effect"
import { Lease, Locker } from "effect-dlm"
import { LockServer } from "effect-dlm/server"

const inProcess = LockServer.layerTalker.pipe(Layer.provide(LockServer.layerMemory))

const Orders = Lease.tag("orders")
const Stock = Lease.tag("stock")
const ReadStock = Lease.tag("stock", "shared")

const names: Effect.Effect<ReadonlyArray<string>, never, Lease.Held<"orders"> | Lease.ReadHeld<"stock">> = Effect.gen(
  function*() {
    return [(yield* Orders).name, (yield* ReadStock).name]
  }
)

describe("proofs of several locks", () => {
  it.effect("are the lease of each, by a name or by a Locker", () =>
    Effect.gen(function*() {
      const stock = yield* Locker.make("stock in Hamburg")
      const held = yield* names.pipe(Lease.withLocksProvided([[Stock, stock], [Orders, "orders/7"]]))
      assert.deepStrictEqual(held, ["orders/7", "stock in Hamburg"])
      assert.strictEqual(yield* stock.holder, "Nobody")
    }).pipe(Effect.provide(inProcess)))

  it.effect("are not given where one of them is another's", () =>
    Effect.gen(function*() {
      const another = yield* Locker.make("stock")
      yield* another.lock
      const held = names.pipe(Lease.withLocksProvided([[Orders, "orders/7"], [Stock, "stock"]], { wait: 0 }))
      assert.strictEqual((yield* Effect.flip(held))._tag, "AcquireTimeout")
      assert.strictEqual(yield* (yield* Locker.make("orders/7")).holder, "Nobody")
    }).pipe(Effect.provide(inProcess)))
})

it.effect("a proof is given only where the lock is free, by withLockProvidedIfAvailable", () =>
  Effect.gen(function*() {
    const another = yield* Locker.make("orders.csv")
    const name = Effect.map(Orders, (lease) => lease.name).pipe(
      Lease.withLockProvidedIfAvailable(Orders, "orders.csv")
    )
    assert.deepStrictEqual(yield* name, Option.some("orders.csv"))
    yield* another.lock
    assert.deepStrictEqual(yield* name, Option.none())
  }).pipe(Effect.provide(inProcess)))
