/**
 * What speaks another protocol to the port gets `BadPayload` or nothing, and changes nothing.
 */
import { assert, describe, it } from "@effect/vitest"
import { Context, Duration, Effect, Layer, Logger } from "effect"
import { NodeLockServer } from "effect-dlm/node"
import { Identities, Limits, LockServer } from "effect-dlm/server"
import { SocketServer } from "effect/socket"
import * as Http from "node:http"
import * as Http2 from "node:http2"
import * as Tls from "node:tls"
import { ask, connect, line, parse, readToEnd } from "../../support/tcp.ts"
import { watched } from "./target.ts"

const honest = { ID: "honest", FileName: "honest", Action: "Lock", Expire: "30" }

/** A server that is not patient, and the entries that it has. */
const serve = Effect.gen(function*() {
  const held = new Map<string, string>()
  const context = yield* Layer.build(
    NodeLockServer.layer({ port: 0 }).pipe(
      Layer.provide(LockServer.layer),
      Layer.provide([watched(held), Identities.layerNone]),
      Layer.provide([Limits.layer({ requestTimeout: Duration.millis(300) }), Logger.layer([])])
    )
  )
  const { address } = Context.get(context, SocketServer.SocketServer)
  return { port: address._tag === "UnixPathAddress" ? 0 : address.port, held }
})

const http = (body: string) => `POST /lock HTTP/1.1\r\nHost: a\r\nContent-Length: ${body.length}\r\n\r\n${body}`
const request = Buffer.from(line(honest)).toString("latin1")

const greetings: ReadonlyArray<readonly [string, string | Buffer]> = [
  ["HTTP", "GET / HTTP/1.1\r\nHost: localhost\r\nConnection: keep-alive\r\n\r\n"],
  ["HTTP without an end", "GET / HTTP/1.1"],
  ["HTTP with our request in its body, as a browser can be made to send it", http(request)],
  ["HTTP with the JSON of our request", http(JSON.stringify(honest))],
  ["HTTP/2", "PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n\0\0\0\x04\0\0\0\0\0"],
  ["SSH", "SSH-2.0-OpenSSH_9.6\r\n"],
  ["Redis", "*3\r\n$3\r\nSET\r\n$1\r\nf\r\n$1\r\nA\r\n"],
  ["Redis, inline", "SET f A NX PX 30000\r\n"],
  ["memcached", "set f 0 30 1\r\nA\r\n"],
  ["SMTP", "EHLO localhost\r\n"],
  ["the PROXY protocol before our request", `PROXY TCP4 127.0.0.1 127.0.0.1 5000 37373\r\n${request}`],
  [
    "the PROXY protocol, version 2",
    Buffer.from("0d0a0d0a000d0a515549540a2111000c7f0000017f0000011388 91fd".replace(" ", ""), "hex")
  ],
  ["Postgres", Buffer.from("000000080004d2162f", "hex")],
  ["a TLS client hello", Buffer.concat([Buffer.from("16030100f6010000f20303", "hex"), Buffer.alloc(242, 0xc0)])],
  ["the JSON of our request as it is", `${JSON.stringify(honest)}\n`]
]

describe("another protocol", () => {
  it.live("is BadPayload, or the end, and no lock comes to be", () =>
    Effect.gen(function*() {
      const { held, port } = yield* serve
      for (const [what, bytes] of greetings) {
        const socket = yield* connect(port)
        socket.write(bytes)
        const { text } = yield* readToEnd(socket)
        if (text !== "") assert.deepStrictEqual(yield* parse(text), { Status: "BadPayload" }, what)
        assert.strictEqual(held.size, 0, what)
      }
      assert.deepStrictEqual(yield* ask(port, line(honest)), { Status: "Locked", ID: "honest" })
      assert.deepStrictEqual([...held], [["honest", "honest"]])
    }))

  it.live("spoken by its own clients, is refused by them too", () =>
    Effect.gen(function*() {
      const { held, port } = yield* serve
      const failures = yield* Effect.all([
        Effect.callback<Error>((resume) => {
          const request = Http.request({ port, method: "POST", agent: false })
          request.on("error", (error) => resume(Effect.succeed(error))).end(line(honest))
        }),
        Effect.callback<Error>((resume) => {
          const session = Http2.connect(`http://127.0.0.1:${port}`)
          session.on("error", (error) => resume(Effect.succeed(error)))
        }),
        Effect.callback<Error>((resume) => {
          const socket = Tls.connect({ port, host: "127.0.0.1", rejectUnauthorized: false })
          socket.on("error", (error) => resume(Effect.succeed(error)))
        })
      ], { concurrency: "unbounded" })
      for (const failure of failures) assert.instanceOf(failure, Error)
      assert.strictEqual(held.size, 0)
      assert.deepStrictEqual(yield* ask(port, line(honest)), { Status: "Locked", ID: "honest" })
    }))
})
