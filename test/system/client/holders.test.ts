/**
 * What a client is told of another that holds a name, over TCP.
 */
import { assert, describe, it } from "@effect/vitest"
import { Context, DateTime, Effect, Fiber, Layer, Schedule } from "effect"
import { Lease, Locker } from "effect-dlm"
import { NodeLockServer, NodeTalker } from "effect-dlm/node"
import { Identities, LockServer } from "effect-dlm/server"
import { SocketServer } from "effect/socket"

/** A server, and the port that it listens on. */
const serve = Effect.gen(function*() {
  const context = yield* Layer.build(
    NodeLockServer.layer({ port: 0 }).pipe(Layer.provide([LockServer.layerMemory, Identities.layerNone]))
  )
  const { address } = Context.get(context, SocketServer.SocketServer)
  return address._tag === "InetAddressV4" ? address.port : yield* Effect.die("no port")
})

/** A client with a connection of its own. */
const clientOf = (port: number) => Layer.fresh(NodeTalker.layer({ port }))

describe("a client that does not get a name", () => {
  it.live("is told by the server who has it, since when, and how many wait", () =>
    Effect.gen(function*() {
      const port = yield* serve
      const [holders, waiters, mine] = yield* Effect.all([0, 1, 2].map(() => Layer.build(clientOf(port))))
      const before = yield* DateTime.now
      const holder = yield* Locker.make("order/7", { label: "api-1", ttl: "1 minute" }).pipe(
        Effect.provideContext(holders!)
      )
      yield* holder.lock
      const after = yield* DateTime.now

      const refused = Effect.flip(Lease.withLock(Effect.void, "order/7", { wait: "50 millis" })).pipe(
        Effect.provideContext(mine!)
      )
      const first = yield* refused
      assert(first._tag === "AcquireTimeout")
      assert.strictEqual(first.holder?.label, "api-1")
      assert.strictEqual(first.waiting, 0)
      const since = first.holder!.since.epochMilliseconds
      assert.isAtLeast(since, before.epochMilliseconds)
      assert.isAtMost(since, after.epochMilliseconds)
      assert.include(first.message, `held by "api-1" since ${DateTime.formatIso(first.holder!.since)}`)

      const waiting = yield* Effect.forkChild(
        Effect.scoped(Lease.acquire("order/7", { wait: "1 minute" })).pipe(Effect.provideContext(waiters!))
      )
      const second = yield* Effect.repeat(refused, {
        until: (error) => error._tag === "AcquireTimeout" && error.waiting === 1
      })
      assert(second._tag === "AcquireTimeout")
      assert.include(second.message, ", and 1 waits for it")

      // A renewal keeps since when it is, and may have another label.
      const relabelled = yield* Locker.make("order/7", { id: yield* holder.id, label: "api-2" }).pipe(
        Effect.provideContext(holders!)
      )
      yield* relabelled.lock
      const third = yield* refused
      assert(third._tag === "AcquireTimeout")
      assert.strictEqual(third.holder?.label, "api-2")
      assert.strictEqual(third.holder?.since.epochMilliseconds, since)

      yield* Fiber.interrupt(waiting)
      const last = yield* Effect.repeat(refused, {
        schedule: Schedule.spaced("10 millis"),
        until: (error) => error._tag === "AcquireTimeout" && error.waiting === 0
      })
      assert.strictEqual(last._tag, "AcquireTimeout")
    }).pipe(Effect.scoped), 30_000)
})
