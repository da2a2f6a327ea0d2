/**
 * What can be asked of those who serve metrics and health: no more connections than a few, and none for long.
 */
import { assert, describe, it } from "@effect/vitest"
import { Context, Effect, Layer } from "effect"
import { NodeOperations } from "effect-dlm/node"
import { Identities, LockServer, Store } from "effect-dlm/server"
import { HttpServer } from "effect/http"
import { connect, readToEnd } from "../../support/tcp.ts"

const serve = Effect.gen(function*() {
  const context = yield* Layer.build(
    NodeOperations.layer({ port: 0 }).pipe(
      Layer.provide(LockServer.layer),
      Layer.provide([Store.layerMemory, Identities.layerNone])
    )
  )
  const { address } = Context.get(context, HttpServer.HttpServer)
  return address._tag === "UnixPathAddress" ? yield* Effect.die("no port") : address.port
})

const scrape = (port: number) =>
  Effect.promise(async () => {
    const response = await fetch(`http://127.0.0.1:${port}/healthz`, { headers: { connection: "close" } })
    return [response.status, await response.text()]
  })

describe("connections to what operators see", () => {
  it.live("have a bound, and those that say nothing end soon", () =>
    Effect.gen(function*() {
      const port = yield* serve
      const silent = yield* Effect.all(Array.from({ length: 64 }, () => connect(port)), { concurrency: "unbounded" })
      for (let i = 0; i < 20; i++) {
        const { text } = yield* Effect.timeout(Effect.flatMap(connect(port), readToEnd), "2 seconds")
        assert.strictEqual(text, "")
      }
      assert.isTrue(silent.every((socket) => !socket.destroyed))
      const ended = yield* Effect.timeout(
        Effect.forEach(silent, readToEnd, { concurrency: "unbounded" }),
        "10 seconds"
      )
      for (const { text } of ended) assert.match(text, /^HTTP\/1\.1 408 /)
      assert.deepStrictEqual(yield* scrape(port), [200, "ok\n"])
    }), 30_000)

  it.live("end soon where nothing more is asked", () =>
    Effect.gen(function*() {
      const socket = yield* Effect.flatMap(serve, (port) => connect(port))
      socket.write("GET /healthz HTTP/1.1\r\nHost: x\r\n\r\n")
      const { text } = yield* Effect.timeout(readToEnd(socket), "10 seconds")
      assert.match(text, /^HTTP\/1\.1 200 OK\r\n[^]*\r\n\r\nok\n$/)
    }), 30_000)
})
