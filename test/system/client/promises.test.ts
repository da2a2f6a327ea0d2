/**
 * What the client promises where it needs real sockets, processes or time.
 */
import { assert, describe, it } from "@effect/vitest"
import { Effect, Exit, Queue } from "effect"
import { DataCodec, Talker } from "effect-dlm"
import { NodeTalker } from "effect-dlm/node"
import type { Protocol } from "effect-dlm/protocol"
import type * as Tls from "node:tls"
import * as Zlib from "node:zlib"
import { outcome } from "../../client/promises/world.ts"
import * as peers from "../../support/peers.ts"
import { assertFails, closedPort, dlm } from "../cli/processes.ts"

const features = "seq,wait,fence"

const answer = ({ peer, request }: peers.Received, response: Protocol.Response) =>
  peer.send({ ...response, ...(request.Seq === undefined ? {} : { Seq: request.Seq }) })

describe.concurrent("C1: the command ends with 75 only where another holds the lock", () => {
  const servers = [
    ["nobody listens", ["0s", "5s"], closedPort],
    ["the server is silent", ["0s", "3s"], Effect.map(peers.server({ onRequest: () => {} }), ({ port }) => port)],
    [
      "the server is silent once it has named its features",
      ["0s", "3s"],
      Effect.map(
        peers.server({ features, onRequest: () => {} }),
        ({ port }) => port
      )
    ],
    [
      "the store refuses everything",
      ["0s", "5s"],
      Effect.map(
        peers.server({ features, onRequest: (received) => answer(received, { Status: "NO" }) }),
        ({ port }) => port
      )
    ]
  ] as const
  for (const [server, waits, port] of servers) {
    for (const wait of waits) {
      it.live(`C1 dlm run --wait ${wait}, where ${server}: 69`, () =>
        Effect.gen(function*() {
          const ended = yield* dlm(["run", "a", "--wait", wait, "--", "true"], {
            env: { DLM_PORT: String(yield* port) }
          })
          assertFails(ended, 69, /./)
        }).pipe(Effect.scoped), 60_000)
    }
  }

  it.live("C1 dlm run --wait, where another holds the lock: 75", () =>
    Effect.gen(function*() {
      const { port } = yield* peers.server({
        features,
        onRequest: (received) => answer(received, { Status: "NotOwner" })
      })
      for (const wait of ["0s", "1s"]) {
        const ended = yield* dlm(["run", "a", "--wait", wait, "--", "true"], { env: { DLM_PORT: String(port) } })
        assertFails(ended, 75, /./)
      }
    }).pipe(Effect.scoped), 60_000)
})

describe("C5: the command unlocks nothing that it may not have locked", () => {
  it.live("C5 dlm lock --id, as a renewal, whose answers are lost", () =>
    Effect.gen(function*() {
      const asked = yield* Queue.unbounded<string>()
      const { port } = yield* peers.server({
        features,
        onRequest: ({ peer, request }) => {
          Queue.offerUnsafe(asked, request.Action)
          peer.end()
        }
      })
      assertFails(yield* dlm(["lock", "a", "--id", "me"], { env: { DLM_PORT: String(port) } }), 69, /./)
      const actions = yield* Queue.clear(asked)
      assert.include(actions, "Lock")
      assert.notInclude(actions, "Unlock")
    }).pipe(Effect.scoped), 60_000)
})

describe("C27: what cannot work is a typed error", () => {
  const asked = (options: NodeTalker.Options & { readonly tls?: Tls.ConnectionOptions }, tls: boolean) =>
    Effect.flatMap(
      Talker.Talker,
      ({ talk }) => talk({ ID: "", FileName: "", Action: "Version", Expire: 0 })
    ).pipe(
      Effect.provide(tls ? NodeTalker.layerTls(options) : NodeTalker.layer(options)),
      Effect.timeout("8 seconds"),
      Effect.exit
    )
  const assertTyped = (exit: Exit.Exit<unknown, unknown>) => {
    assert.isFalse(Exit.hasDies(exit), String(exit))
    assert.notInclude(["Success", "Interrupt", "TimeoutError"], outcome(exit))
  }

  for (const port of [-1, 65_536, 70_000, 1.5, Number.NaN]) {
    for (const tls of [false, true]) {
      it.live(`C27 ${tls ? "layerTls" : "layer"} with the port ${port}`, () =>
        Effect.gen(function*() {
          assertTyped(yield* asked({ port }, tls))
        }), 20_000)
    }
  }

  const pem = "-----BEGIN CERTIFICATE-----\nnone\n-----END CERTIFICATE-----\n"
  for (
    const [what, options] of [
      ["a certificate and a key that are no PEM", { cert: "none", key: "none" }],
      ["a certificate and a key that are a bad PEM", { cert: pem, key: pem }]
    ] as const
  ) {
    it.live(`C27 layerTls with ${what}`, () =>
      Effect.gen(function*() {
        const { port } = yield* peers.server({ onRequest: () => {} })
        assertTyped(yield* asked({ port, tls: options }, true))
      }).pipe(Effect.scoped), 20_000)
  }

  it.live("C27 gzip of a few characters that unpacks to 200 MiB is refused", () =>
    Effect.gen(function*() {
      const bomb = Zlib.gzipSync(Buffer.alloc(200 * 1024 * 1024), { level: 9 })
      const codec = DataCodec.gzip()
      const before = process.memoryUsage().arrayBuffers
      const exit = yield* Effect.exit(codec.decode(bomb.toString("base64url"), "a"))
      assert.strictEqual(outcome(exit), "DataError")
      assert.isBelow(process.memoryUsage().arrayBuffers - before, 100 * 1024 * 1024)
    }), 30_000)

  it.live("C27 gzip of what a lock may hold comes back as it was", () =>
    Effect.gen(function*() {
      const codec = DataCodec.gzip()
      const data = new TextEncoder().encode("some text ".repeat(100_000))
      assert.deepStrictEqual(yield* codec.decode(yield* codec.encode(data, "a"), "a"), data)
    }))
})
