import { assert, describe, it } from "@effect/vitest"
import { Config, ConfigProvider, Context, Deferred, Effect, Exit, Fiber, Layer, Scope } from "effect"
import { Talker } from "effect-dlm"
import { NodeTalker } from "effect-dlm/node"
import { Protocol } from "effect-dlm/protocol"
import * as Net from "node:net"

const request: Protocol.Request = { ID: "me", FileName: "orders.csv", Action: "Put", Expire: 30 }

/** How a connection ended for its server: in order, or by a reset. */
type End = "end" | "ECONNRESET" | string

/** A server that answers what it can, and then does as a test says with each chunk. */
const serve = Effect.fnUntraced(function*(
  onData: (socket: Net.Socket, chunk: Uint8Array) => void,
  Features = "seq,wait,fence"
) {
  const ended = yield* Deferred.make<End>()
  const asked = yield* Deferred.make<void>()
  const sockets = new Set<Net.Socket>()
  const server = Net.createServer({ noDelay: true, allowHalfOpen: true }, (socket) => {
    sockets.add(socket)
    socket.once("data", () => {
      socket.write(
        Protocol.encodeResponse({ Status: "Version", ID: Protocol.serverName, Features, Seq: "0" })
      )
      socket.on("data", (chunk) => {
        onData(socket, chunk)
        Deferred.doneUnsafe(asked, Effect.void)
      })
    })
    socket.on("error", (error: NodeJS.ErrnoException) => Deferred.doneUnsafe(ended, Effect.succeed(error.code ?? "?")))
    socket.on("end", () => Deferred.doneUnsafe(ended, Effect.succeed("end")))
  })
  const port = yield* Effect.acquireRelease(
    Effect.callback<number>((resume) => {
      server.listen(
        { host: "127.0.0.1", port: 0 },
        () => resume(Effect.succeed((server.address() as Net.AddressInfo).port))
      )
    }),
    () =>
      Effect.sync(() => {
        for (const socket of sockets) socket.destroy()
        server.close()
      })
  )
  return { port, ended: Deferred.await(ended), asked: Deferred.await(asked), sockets }
})

const talker = Effect.fnUntraced(function*(port: number) {
  const scope = yield* Scope.make()
  const context = yield* Scope.provide(Layer.build(Layer.fresh(NodeTalker.layer({ port }))), scope)
  return { ...Context.get(context, Talker.Talker), close: Scope.close(scope, Exit.void) }
})

/** How a Talker writes its first request to a server that has these features. */
const wireOf = Effect.fnUntraced(function*(env: Record<string, string>, Features?: string) {
  const chunks: Array<Uint8Array> = []
  const { asked, port } = yield* serve((_, chunk) => chunks.push(chunk.slice()), Features)
  const config = ConfigProvider.layer(ConfigProvider.fromUnknown({ DLM_PORT: String(port), ...env }))
  const context = yield* Layer.build(Layer.fresh(NodeTalker.layerConfig).pipe(Layer.provide(config)))
  const { talk } = Context.get(context, Talker.Talker)
  const asking = yield* Effect.forkScoped(Effect.ignore(talk(request)), { startImmediately: true })
  yield* asked
  yield* Fiber.interrupt(asking)
  const bytes = Buffer.concat(chunks)
  return bytes[0] === 0 ? "frames" : bytes.at(-1) === 10 ? "lines" : "?"
}, Effect.scoped)

describe("DLM_WIRE", () => {
  it.live("says how messages are written: as frames where the server knows them, or always as lines", () =>
    Effect.gen(function*() {
      const knowing = "seq,wait,fence,frames"
      assert.strictEqual(yield* wireOf({}, knowing), "frames")
      assert.strictEqual(yield* wireOf({ DLM_WIRE: "frames" }, knowing), "frames")
      assert.strictEqual(yield* wireOf({ DLM_WIRE: "lines" }, knowing), "lines")
      assert.strictEqual(yield* wireOf({}), "lines")
      assert.strictEqual(yield* wireOf({ DLM_WIRE: "frames" }), "lines")
    }))

  for (const other of ["json", "Frames", "frames,lines"]) {
    it.effect(`is nothing else: ${JSON.stringify(other)}`, () =>
      Effect.gen(function*() {
        const error = yield* Effect.flip(Effect.scoped(Layer.build(NodeTalker.layerConfig)))
        assert.instanceOf(error, Config.ConfigError)
        assert.include(error.message, "DLM_WIRE")
      }).pipe(Effect.provide(ConfigProvider.layer(ConfigProvider.fromUnknown({ DLM_WIRE: other })))))
  }
})

describe("NodeTalker", () => {
  for (const port of [0, -1, 1.5, 65_536, 70_000, NaN, Infinity]) {
    it.effect(`says that ${port} is no port`, () =>
      Effect.gen(function*() {
        for (const layer of [NodeTalker.layer({ port }), NodeTalker.layerTls({ port })]) {
          const error = yield* Effect.flip(Effect.scoped(Layer.build(layer)))
          assert.strictEqual(error._tag, "InvalidOption")
          assert.include(error.message, `port is ${port}. It has to be a whole number from 1 to 65535`)
        }
      }))
  }

  for (const option of ["cert", "key"] as const) {
    it.effect(`says that a ${option} cannot be used`, () =>
      Effect.gen(function*() {
        const tls = { [option]: "-----BEGIN NONSENSE-----" }
        const error = yield* Effect.flip(Effect.scoped(Layer.build(NodeTalker.layerTls({ tls }))))
        assert.strictEqual(error._tag, "TlsError")
        assert.include(error.message, "the option tls of NodeTalker cannot be used for TLS")
      }))
  }

  it.live("resets a connection that it gives up", () =>
    Effect.gen(function*() {
      const server = yield* serve((socket) => void socket.write("garbage\n"))
      const { close, talk } = yield* talker(server.port)
      assert.strictEqual((yield* Effect.flip(talk(request)))._tag, "ProtocolError")
      assert.strictEqual(yield* server.ended, "ECONNRESET")
      yield* close
    }))

  it.live("closes a connection in order when it is released", () =>
    Effect.gen(function*() {
      const server = yield* serve(() => {})
      const { close, talk } = yield* talker(server.port)
      const asking = yield* Effect.forkChild(Effect.flip(talk(request)))
      yield* server.asked
      yield* close
      const error = yield* Fiber.join(asking)
      assert.strictEqual(error._tag === "TransportError" && error.phase, "Released")
      assert.strictEqual(yield* server.ended, "end")
    }))

  it.live("does not stay for a server that takes nothing, and what is unsent dies", () =>
    Effect.gen(function*() {
      let taken = 0
      const server = yield* serve((socket) => {
        taken++
        socket.pause()
      })
      const { close, talk } = yield* talker(server.port)
      const asking = yield* Effect.forEach(
        Array.from({ length: 100 }, () => "x".repeat(200_000)),
        (DataStore) => Effect.forkChild(Effect.flip(talk({ ...request, DataStore })))
      )
      yield* server.asked
      yield* close
      for (const one of asking) {
        const error = yield* Fiber.join(one)
        assert.strictEqual(error._tag === "TransportError" && error.phase, "Released")
      }
      for (const socket of server.sockets) socket.resume()
      assert.strictEqual(yield* server.ended, "ECONNRESET")
      assert.isBelow(taken, 200)
    }))
})
