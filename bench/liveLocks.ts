/**
 * Whether locks of other owners slow a request down: requests at many live locks against none.
 */
import { Effect, Layer, ManagedRuntime } from "effect"
import { Protocol } from "effect-dlm/protocol"
import { LockServer } from "effect-dlm/server"
import { perSecond, rates, type Row } from "./harness.ts"

const lockServerWith = async (locks: number) => {
  const runtime = ManagedRuntime.make(LockServer.layerMemory.pipe(Layer.fresh))
  const lockServer = await runtime.runPromise(LockServer.LockServer)
  const handle = (request: Protocol.Request) => lockServer.handle(request)
  await Effect.runPromise(Effect.gen(function*() {
    for (let i = 0; i < locks; i++) {
      yield* handle({ ID: `owner-${i}`, FileName: `lock-${i}`, Action: "Lock", Expire: 600 + (i % 2400) })
    }
  }))
  const lock: Protocol.Request = { ID: "bench-owner", FileName: "bench", Action: "Lock", Expire: 30 }
  const unlock: Protocol.Request = { ...lock, Action: "Unlock" }
  return {
    run: (times: number) =>
      Effect.runPromise(Effect.gen(function*() {
        for (let i = 0; i < times; i++) {
          yield* handle(lock)
          yield* handle(unlock)
        }
      })),
    stop: () => runtime.dispose()
  }
}

export const liveLocks = async (): Promise<ReadonlyArray<Row>> => {
  const counts = [0, 10_000, 100_000, 1_000_000]
  const lockServers = await Promise.all(counts.map(lockServerWith))
  const measured = await rates(Object.fromEntries(lockServers.map(({ run }, i) => [String(counts[i]), run])))
  await Promise.all(lockServers.map(({ stop }) => stop()))
  const none = measured["0"]!
  return counts.slice(1).map((count) => ({
    measure: `requests in process, at ${count.toLocaleString("en")} live locks against none`,
    result: `${perSecond(measured[String(count)]! * 2)} against ${perSecond(none * 2)}`,
    ratio: measured[String(count)]! / none,
    goal: "≥ 0.95"
  }))
}
