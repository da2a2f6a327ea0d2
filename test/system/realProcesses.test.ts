import { assert, describe, it } from "@effect/vitest"
import { Context, Deferred, type Duration, Effect, Fiber, Layer, Option, Schedule } from "effect"
import { type DlmError, Lease, Locker, Talker } from "effect-dlm"
import type { Protocol } from "effect-dlm/protocol"
import * as Processes from "../support/childProcesses.ts"
import { now } from "../support/lockClient.ts"
import * as Tcp from "../support/peers.ts"

const request = (Action: Protocol.Action, FileName: string, ID: string, Wait?: number): Protocol.Request => ({
  ID,
  FileName,
  Action,
  Expire: 60,
  ...(Wait === undefined ? {} : { Wait })
})

const fenceOf = (response: Protocol.Response): bigint =>
  BigInt(response.Status === "Locked" ? response.Fence! : assert.fail(`no grant: ${response.Status}`))

/** Asks for the lock and waits for it, on a connection of its own; goes on once the server has the claim. */
const queue = Effect.fnUntraced(function*(port: number, FileName: string, ID: string, Wait = 60_000) {
  const { talk } = yield* Tcp.talker({ port })
  yield* talk(request("Version", "", ""))
  const fiber = yield* Effect.forkChild(
    Effect.map(talk(request("Lock", FileName, ID, Wait)), (response) => ({ response, at: now() })),
    { startImmediately: true }
  )
  // It is asked after the lock, on the same connection, so its answer says that the claim is there.
  yield* talk(request("Version", "", ""))
  return { fiber, talk }
})

/** One server for those tests that do not kill it. */
class Server extends Context.Service<Server, { readonly port: number }>()("test/Server") {
  static readonly layer = Layer.effect(Server, Processes.serve())
}

describe("processes", () => {
  it.layer(Server.layer, { excludeTestServices: true })((it) => {
    it.effect("queue over sixteen connections, and are served in that order", () =>
      Effect.gen(function*() {
        const { port } = yield* Server
        const { talk } = yield* Tcp.talker({ port })
        yield* talk(request("Lock", "sixteen", "holder"))
        const order: Array<number> = []
        const fibers: Array<Fiber.Fiber<unknown, DlmError.TalkError>> = []
        for (let i = 0; i < 16; i++) {
          const { fiber, talk } = yield* queue(port, "sixteen", String(i))
          fibers.push(
            yield* Effect.forkChild(Effect.gen(function*() {
              fenceOf((yield* Fiber.join(fiber)).response)
              order.push(i)
              yield* talk(request("Unlock", "sixteen", String(i)))
            }))
          )
        }
        assert.deepStrictEqual(order, [])
        yield* talk(request("Unlock", "sixteen", "holder"))
        yield* Effect.forEach(fibers, Fiber.join)
        assert.deepStrictEqual(order, Array.from({ length: 16 }, (_, i) => i))
      }))

    it.effect("that are killed while they wait are passed over", () =>
      Effect.gen(function*() {
        const { port } = yield* Server
        const { talk } = yield* Tcp.talker({ port })
        yield* talk(request("Lock", "waiting", "holder"))
        const first = yield* Processes.client({ port, name: "waiting", ttl: 60_000 })
        yield* first.next("queued")
        const second = yield* Processes.client({ port, name: "waiting", ttl: 60_000 })
        yield* second.next("queued")
        yield* first.kill
        // The end of its connection has come before this question.
        yield* talk(request("Version", "", ""))
        yield* talk(request("Unlock", "waiting", "holder"))
        yield* second.next("granted")
        yield* second.letGo
        yield* second.next("released")
        assert.strictEqual((yield* talk(request("TestLock", "waiting", "holder"))).Status, "Unlocked")
      }))

    it.effect("that are killed while they hold keep the lock until the end of its time, and no longer", () =>
      Effect.gen(function*() {
        // A holder that the machine keeps from renewing for so long would lose it.
        const ttl = 4_000
        const { port } = yield* Server
        const holder = yield* Processes.client({ port, name: "holding", ttl })
        const { fence } = yield* holder.next("granted")
        const waiter = yield* queue(port, "holding", "waiter", 20_000)
        yield* holder.next("confirmed")
        const { sentAt } = yield* holder.next("confirmed")
        yield* holder.kill
        const { at, response } = yield* Fiber.join(waiter.fiber)
        assert.isTrue(fenceOf(response) > BigInt(fence))
        // Whatever the server counts from, it is no earlier than the sending.
        assert.isAtLeast(at, sentAt + ttl)
      }))
  })
})

/** A Locker with a connection of its own, that tries for as long as the server may take to come back. */
const lockerOf = Effect.fnUntraced(function*(port: number, ttl: Duration.Input) {
  const talker = yield* Tcp.talker({ port })
  return yield* Effect.provideService(
    Locker.make("orders", { ttl, retry: Schedule.spaced("100 millis") }),
    Talker.Talker,
    talker
  )
})

const fence = (lease: Lease.Lease): bigint => Option.getOrThrow(lease.fence)

/** Holds the lock, and tells under which fence, until it is lost. */
const holdUntilLost = Effect.fnUntraced(function*(locker: Locker.Locker) {
  const granted = yield* Deferred.make<bigint>()
  const losing = yield* Effect.scoped(
    Effect.flatMap(locker.acquire(), (lease) => Effect.andThen(Deferred.succeed(granted, fence(lease)), lease.lost))
  ).pipe(Effect.flip, Effect.forkChild)
  return { fence: yield* Deferred.await(granted), losing }
})

describe("a server that is killed, and comes back with nothing remembered", () => {
  it.live("begins a new tenure for its holder, who finds that out, and gives it back", () =>
    Effect.gen(function*() {
      const server = yield* Processes.serve()
      const locker = yield* lockerOf(server.port, "9 seconds")
      const held = yield* holdUntilLost(locker)
      yield* server.kill
      yield* Processes.serve(server.port)
      const error = yield* Fiber.join(held.losing)
      assert.strictEqual(error._tag === "LeaseLost" && error.reason._tag, "TakenAway")
      assert.strictEqual(yield* locker.holder, "Nobody")
      yield* Effect.scoped(Effect.map(locker.acquire(), (lease) => assert.isTrue(fence(lease) > held.fence)))
    }))

  it.live("lets in those who queued, one at a time, and the fences tell them from the holder of before", () =>
    Effect.gen(function*() {
      const server = yield* Processes.serve()
      const held = yield* holdUntilLost(yield* lockerOf(server.port, "9 seconds"))
      // What the lock protects: it takes nothing under a fence older than the newest that it has seen.
      let newest = held.fence
      const write = (fence: bigint) => {
        if (fence > newest) newest = fence
        return fence === newest
      }
      let inside = 0
      const fences: Array<bigint> = []
      const others = yield* Effect.forEach(Array.from({ length: 4 }), () =>
        Effect.gen(function*() {
          const locker = yield* lockerOf(server.port, "9 seconds")
          const body = Effect.gen(function*() {
            const lease = yield* locker.acquire()
            assert.strictEqual(++inside, 1)
            fences.push(fence(lease))
            assert.isTrue(write(fence(lease)))
            // Until its next renewal the holder of before may believe that it holds the lock.
            assert.isFalse(write(held.fence))
            yield* locker.version
            assert.isTrue(write(fence(lease)))
            inside--
          })
          yield* locker.version
          const fiber = yield* Effect.forkChild(Effect.scoped(body), { startImmediately: true })
          yield* locker.version
          return fiber
        }))
      assert.deepStrictEqual(fences, [])
      yield* server.kill
      yield* Processes.serve(server.port)
      yield* Effect.forEach(others, Fiber.join)
      assert.strictEqual(fences.length, 4)
      for (let i = 1; i < fences.length; i++) assert.isTrue(fences[i]! > fences[i - 1]!, String(fences))
      const error = yield* Fiber.join(held.losing)
      assert.strictEqual(error._tag === "LeaseLost" && error.reason._tag, "TakenAway")
    }))

  it.live("costs its holder the lease, at its deadline, where it does not come back", () =>
    Effect.gen(function*() {
      const server = yield* Processes.serve()
      const held = yield* holdUntilLost(yield* lockerOf(server.port, "1500 millis"))
      yield* server.kill
      const error = yield* Fiber.join(held.losing)
      assert.strictEqual(error._tag === "LeaseLost" && error.reason._tag, "Expired")
    }))
})
