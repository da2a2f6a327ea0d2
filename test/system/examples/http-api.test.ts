import * as NodeServices from "@effect/platform-node/NodeServices"
import { assert, describe, it } from "@effect/vitest"
import { Effect, Fiber, FileSystem } from "effect"
import { folder, serve, start } from "../cli/processes.ts"

/** Starts the API, and gives what asks it to pay an order. */
const api = Effect.fnUntraced(function*(locks: number, SHOP_FOLDER: string, paymentTime = "200 millis") {
  const process = yield* start("examples/http-api/server.ts", [], {
    env: { SHOP_FOLDER, SHOP_PAYMENT_TIME: paymentTime, PORT: "0", DLM_PORT: String(locks) }
  })
  const [, url] = yield* process.prints(/Listening on (http:\/\/\S+)/)
  const pay = (order: string) =>
    Effect.promise(async () => {
      const response = await fetch(`${url!.replace("0.0.0.0", "127.0.0.1")}/orders/${order}/pay`, { method: "POST" })
      return { status: response.status, body: await response.json() as unknown }
    })
  return { process, pay }
})

const paid = (order: string) => ({ status: 200, body: { receipt: `paid ${order}` } })

describe("examples/http-api", () => {
  it.live("two processes pay an order once", () =>
    Effect.gen(function*() {
      const at = yield* folder
      const { port } = yield* serve()
      const apis = yield* Effect.all([api(port, at), api(port, at)], { concurrency: "unbounded" })
      const answers = yield* Effect.forEach([...apis, ...apis, ...apis], ({ pay }) => pay("7"), {
        concurrency: "unbounded"
      })
      for (const answer of answers) assert.deepStrictEqual(answer, paid("7"))
      assert.strictEqual(yield* (yield* FileSystem.FileSystem).readFileString(`${at}/charges.log`), "7\n")
    }).pipe(Effect.provide(NodeServices.layer)), 60_000)

  it.live("answer 409 while another process pays, and 503 without a lock server", () =>
    Effect.gen(function*() {
      const at = yield* folder
      const locks = yield* serve()
      const [slow, fast] = yield* Effect.all([api(locks.port, at, "5 seconds"), api(locks.port, at)], {
        concurrency: "unbounded"
      })
      const paying = yield* Effect.forkChild(slow.pay("7"))
      yield* slow.process.prints(/order 7 is being paid/)
      const { body, status } = yield* fast.pay("7")
      assert.strictEqual(status, 409)
      assert.deepInclude(body, { _tag: "OrderBusy", order: "7" })
      assert.deepStrictEqual(yield* Fiber.join(paying), paid("7"))
      assert.deepStrictEqual(yield* fast.pay("7"), paid("7"))
      assert.strictEqual(yield* (yield* FileSystem.FileSystem).readFileString(`${at}/charges.log`), "7\n")

      yield* locks.process.signal("SIGKILL")
      yield* locks.process.ended
      assert.deepStrictEqual(yield* fast.pay("8"), { status: 503, body: { _tag: "Unavailable" } })
    }).pipe(Effect.provide(NodeServices.layer)), 60_000)
})
