/**
 * Whether other people's locks cost anything: requests at many live locks against none.
 */
import { Effect, Layer, ManagedRuntime } from "effect"
import { Protocol } from "effect-dlm"
import { Vault } from "effect-dlm/vault"
import { perSecond, rates, type Row } from "./harness.ts"

const vaultWith = async (locks: number) => {
  const runtime = ManagedRuntime.make(Vault.layerMemory.pipe(Layer.fresh))
  const vault = await runtime.runPromise(Vault.Vault)
  const handle = (request: Protocol.Request) => vault.handle(request)
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
  const none = await vaultWith(0)
  const some = await vaultWith(100_000)
  const measured = await rates({ none: none.run, some: some.run })
  await none.stop()
  await some.stop()
  return [{
    measure: "requests in process, at 100,000 live locks against none",
    result: `${perSecond(measured.some * 2)} against ${perSecond(measured.none * 2)}`,
    ratio: measured.some / measured.none,
    goal: "≥ 0.9"
  }]
}
