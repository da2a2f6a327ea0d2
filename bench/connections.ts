/**
 * The client against a bare `node:net` client, one request per connection, and in process.
 */
import { Effect, Layer, ManagedRuntime } from "effect"
import { Locker, Talker } from "effect-dlm"
import { NodeTalker } from "effect-dlm/node"
import { Vault } from "effect-dlm/vault"
import * as Bare from "./bareClient.ts"
import { perSecond, rates, type Row, serveAsReference } from "./harness.ts"

const lockAndUnlock = Effect.gen(function*() {
  const locker = yield* Locker.make("bench", { id: "bench-owner" })
  return (times: number) =>
    Effect.gen(function*() {
      for (let i = 0; i < times; i++) {
        yield* locker.lock
        yield* locker.unlock
      }
    })
})

const client = async (layer: Layer.Layer<Talker.Talker>) => {
  const runtime = ManagedRuntime.make(layer)
  const operation = await runtime.runPromise(lockAndUnlock)
  return { run: (times: number) => Effect.runPromise(operation(times)), stop: () => runtime.dispose() }
}

export const connections = async (): Promise<ReadonlyArray<Row>> => {
  const server = await serveAsReference()
  const overTcp = await client(NodeTalker.layer({ port: server.port }))
  const inProcess = await client(Talker.layerVault.pipe(Layer.provide(Vault.layerMemory)))
  const about = { ID: "bench-owner", FileName: "bench", Expire: "30" }
  const measured = await rates({
    ours: overTcp.run,
    bare: async (times: number) => {
      for (let i = 0; i < times; i++) {
        await Bare.exchange(server.port, Bare.line({ ...about, Action: "Lock" }))
        await Bare.exchange(server.port, Bare.line({ ...about, Action: "Unlock" }))
      }
    },
    inProcess: inProcess.run
  })
  await overTcp.stop()
  await inProcess.stop()
  await server.stop()
  return [
    {
      measure: "lock + unlock, one request per connection: the client against bare node:net",
      result: `${perSecond(measured.ours)} against ${perSecond(measured.bare)}`,
      ratio: measured.ours / measured.bare,
      goal: "≥ 0.95"
    },
    {
      measure: "lock + unlock in process, against bare node:net",
      result: `${perSecond(measured.inProcess)} against ${perSecond(measured.bare)}`,
      ratio: measured.inProcess / measured.bare,
      goal: ""
    }
  ]
}
