/**
 * Holds very many leases, and prints how many bytes each of them takes in memory, as a line of JSON: once all are held, and
 * once each was renewed. Its server is a script that grants everything, and keeps nothing.
 *
 *     node --expose-gc test/system/client/leases.ts 20000
 */
import { Deferred, Effect, Layer, Scope } from "effect"
import { Lease, Talker } from "../../../src/index.ts"
import { features } from "../../../src/protocol/Messages.ts"

const count = Number(process.argv[2])

/** Some at first, by which the engine learns the code. */
const warmUp = 2_000

const heap = Effect.promise(async () => {
  // Finalization runs between turns of the event loop.
  for (let i = 0; i < 3; i++) {
    globalThis.gc!()
    await new Promise((resolve) => setImmediate(resolve))
  }
  const { external, heapUsed } = process.memoryUsage()
  return heapUsed + external
})

const program = Effect.gen(function*() {
  const isRenewed = yield* Deferred.make<void>()
  let asked = 0
  const granting = Layer.succeed(
    Talker.Talker,
    Talker.Talker.of({
      features: Effect.succeed(new Set(features)),
      talk: ({ FileName, ID }) =>
        Effect.sync(() => {
          if (++asked === 2 * (count + warmUp)) Deferred.doneUnsafe(isRenewed, Effect.void)
          // Parsed, as on the wire: each answer has strings of its own then, which count as memory.
          return JSON.parse(JSON.stringify({ Status: "Locked", ID, FileName, Fence: fenceOf(FileName) }))
        })
    })
  )
  const scope = yield* Scope.make()
  const hold = (from: number, to: number) =>
    Effect.forEach(
      Array.from({ length: to - from }, (_, i) => from + i),
      (i) => Lease.acquire(`lease/${i}`, { ttl: "12 seconds" }),
      { concurrency: 64 }
    ).pipe(Scope.provide(scope), Effect.provide(granting))
  const some = yield* hold(0, warmUp)
  const before = yield* heap
  const leases = yield* hold(warmUp, warmUp + count)
  const held = yield* heap
  yield* Deferred.await(isRenewed)
  const renewed = yield* heap
  for (const lease of [...some, ...leases]) {
    if ((yield* lease.state) !== "Held") return yield* Effect.die(`${lease.name} is not held`)
  }
  return { held: (held - before) / count, renewed: (renewed - before) / count }
})

const fenceOf = (name: string): string => String(1 + Number(name.slice("lease/".length)))

console.log(JSON.stringify(await Effect.runPromise(program)))
process.exit()
