/**
 * What can be asked of those who serve metrics and health: no more connections than a few, and none for long.
 */
import { assert, describe, it } from "@effect/vitest"
import { Context, Effect, Exit, Layer, Metric, Schedule, Scope } from "effect"
import { NodeOperations } from "effect-dlm/node"
import { Identities, LockServer, Store } from "effect-dlm/server"
import { HttpServer } from "effect/http"
import { execFileSync } from "node:child_process"
import { describeWith } from "../../support/programs.ts"
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

/** A client that asks for more than the network keeps on its way, in one answer, and does not take it. */
const deafTo = Effect.fnUntraced(function*(port: number) {
  const deaf = yield* connect(port)
  const padding = "x".repeat(1000)
  for (let i = 0; i < 20_000; i++) {
    yield* Metric.update(Metric.counter("padding", { attributes: { padding: `${padding}${i}` } }), 1)
  }
  const first = Effect.callback<void>((resume) => {
    deaf.once("data", () => {
      deaf.pause()
      resume(Effect.void)
    })
  })
  deaf.write("GET /metrics HTTP/1.1\r\nHost: x\r\n\r\n")
  yield* first
})

describe("a server that shows operators something", () => {
  it.live(
    "closes soon, whether or not a client asks to the end, and takes what it has asked for",
    () =>
      Effect.gen(function*() {
        const running = yield* Scope.make()
        const port = yield* Scope.provide(serve, running)
        yield* deafTo(port)
        const half = yield* connect(port)
        half.write("GET /healthz HTTP/1.1\r\nHost:")
        // It has come when what was sent after it is answered.
        assert.deepStrictEqual(yield* scrape(port), [200, "ok\n"])
        yield* Effect.timeout(Scope.close(running, Exit.void), "4 seconds")
      }),
    60_000
  )
})

describeWith("connections to what operators see, too,", { ss: "iproute2" }, () => {
  it.live("end where their client does not take what it has asked for", () =>
    Effect.gen(function*() {
      const port = yield* serve
      yield* deafTo(port)
      // The system knows of the server's end.
      yield* Effect.repeat(
        Effect.sync(() =>
          execFileSync("ss", ["-Htn", "state", "established", `sport = :${port}`], { encoding: "utf8" })
        ),
        { until: (open) => open === "", schedule: Schedule.spaced("500 millis") }
      ).pipe(Effect.timeout("40 seconds"))
      assert.deepStrictEqual(yield* scrape(port), [200, "ok\n"])
    }), 60_000)
})
