/**
 * 100,000 leases held by one process: what each costs in memory, and whether renewals keep up.
 */
import { Duration, Effect, Exit, Layer, ManagedRuntime, Scope } from "effect"
import { Lease } from "effect-dlm"
import { NodeTalker } from "effect-dlm/node"
import { LockServer } from "effect-dlm/server"
import { type Row, serve } from "./harness.ts"

const count = 100_000
const ttl = Duration.seconds(30)

const collect = globalThis.gc ?? (() => {
  throw new Error("run with --expose-gc")
})

const heap = async (): Promise<number> => {
  // Finalization runs between turns of the event loop.
  for (let i = 0; i < 3; i++) {
    collect()
    await new Promise((resolve) => setImmediate(resolve))
  }
  const { external, heapUsed } = process.memoryUsage()
  return heapUsed + external
}

const inServer = async (): Promise<number> => {
  const runtime = ManagedRuntime.make(LockServer.layerMemory.pipe(Layer.fresh))
  const { handle } = await runtime.runPromise(LockServer.LockServer)
  const before = await heap()
  await Effect.runPromise(Effect.gen(function*() {
    for (let i = 0; i < count; i++) {
      // Parsed, as on the wire: each request has strings of its own then, which count as memory.
      yield* handle(JSON.parse(JSON.stringify({
        ID: `owner-of-22-characters.${i}`,
        FileName: `bench/${i}`,
        Action: "Lock",
        Expire: 30
      })))
    }
  }))
  const bytes = (await heap() - before) / count
  await runtime.dispose()
  return bytes
}

export const manyLeases = async (): Promise<ReadonlyArray<Row>> => {
  const perLock = await inServer()
  const server = await serve()
  const runtime = ManagedRuntime.make(NodeTalker.layer({ port: server.port }))
  const scope = Scope.makeUnsafe()
  const before = await heap()
  const leases = await runtime.runPromise(
    Effect.forEach(
      Array.from({ length: count }, (_, i) => i),
      (i) => Scope.provide(Lease.acquire(`bench/${i}`, { ttl }), scope),
      { concurrency: 256 }
    )
  )
  const perLease = (await heap() - before) / count
  await new Promise((resolve) => setTimeout(resolve, Duration.toMillis(ttl) * 2))
  const states = await Effect.runPromise(Effect.forEach(leases, ({ state }) => state))
  const lost = states.filter((state) => state !== "Held").length
  await Effect.runPromise(Scope.close(scope, Exit.void))
  await runtime.dispose()
  await server.stop()
  return [
    {
      measure: "memory of a lease in the client",
      result: `${Math.round(perLease)} bytes`,
      ratio: perLease / 1200,
      goal: "≤ 1 (1,200 bytes)"
    },
    {
      measure: "memory of a lock in the server",
      result: `${Math.round(perLock)} bytes`,
      ratio: perLock / 250,
      goal: "≤ 1 (250 bytes)"
    },
    {
      measure: `of 100,000 leases of ${
        Duration.format(ttl)
      } with their renewals, after two times to live, how many are held`,
      result: `${count - lost}`,
      ratio: 1 - lost / count,
      goal: "1"
    }
  ]
}
