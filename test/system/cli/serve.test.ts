import * as NodeServices from "@effect/platform-node/NodeServices"
import { assert, describe, it } from "@effect/vitest"
import { Effect, FileSystem } from "effect"
import * as Net from "node:net"
import { assertFails, closedPort, dlm, folder, serve, startDlm } from "./processes.ts"

describe("dlm serve", () => {
  it.live("says where it listens and keeps locks, and answers there", () =>
    Effect.gen(function*() {
      const port = String(yield* closedPort)
      const server = yield* startDlm(["serve", "--port", port])
      yield* server.prints(/^dlm: listening on .*\n.*\n/)
      const version = yield* dlm(["version", "--port", port, "--json"])
      assert.match(JSON.parse(version.stdout).server, /^JackrabbitDLM\//)
      yield* server.signal("SIGTERM")
      const { stderr, stdout } = yield* server.ended
      assert.strictEqual(stdout, `dlm: listening on 127.0.0.1:${port}\ndlm: locks are kept in memory\n`)
      assert.strictEqual(stderr, "")
    }))

  it.live("says whose identities it knows, and where it writes what happens", () =>
    Effect.gen(function*() {
      const at = yield* folder
      const said = Effect.fnUntraced(function*(
        lines: number,
        args: ReadonlyArray<string>,
        env: Record<string, string> = {}
      ) {
        const server = yield* startDlm(["serve", "--port", "0", ...args], { env })
        yield* server.prints(new RegExp(`^(.*\\n){${lines}}`))
        yield* server.signal("SIGTERM")
        return (yield* server.ended).stdout
      })
      const audit = `${at}/audit.log`
      const flags = ["--identities", at, "--audit", audit]
      assert.match(
        yield* said(4, flags),
        new RegExp(`in memory\ndlm: knows the identities of ${at}\ndlm: what happens is appended to ${audit}\n$`)
      )
      const { audit: file, identities } = JSON.parse(yield* said(1, [...flags, "--json"]))
      assert.deepStrictEqual([file, identities], [audit, at])
      // The proofs themselves are not shown.
      const env = { DLM_IDENTITIES: JSON.stringify([{ Name: "reports", Identity: "s".repeat(1024) }]) }
      assert.match(yield* said(3, [], env), /in memory\ndlm: knows the identities of DLM_IDENTITIES\n$/)
      const workers = ["--workers", "1", "--store", `sqlite:${at}/locks.db`, "--audit", audit]
      assert.match(
        yield* said(4, workers),
        /serves by 1 worker\ndlm: what happens is appended to .*audit\.log\.worker-N\n$/
      )
    }).pipe(Effect.provide(NodeServices.layer)), 120_000)

  it.live("refuses SQLite's name for what is in memory, and says what to write", () =>
    Effect.gen(function*() {
      const refused = yield* dlm(["serve", "--port", "0", "--store", "sqlite::memory:"])
      assertFails(refused, 64, /--store \(or DLM_STORE\) cannot be read\. Write it as .* as memory where/)
    }))

  for (const signal of ["SIGTERM", "SIGINT"] as const) {
    it.live(`ends with status 0 on ${signal}, whoever is connected`, () =>
      Effect.gen(function*() {
        const server = yield* serve()
        const socket = yield* connected(server.port)
        yield* server.process.signal(signal)
        assert.strictEqual((yield* server.process.ended).status, 0)
        yield* socket.closed
      }))
  }

  it.live("says that its port is taken", () =>
    Effect.gen(function*() {
      const { port } = yield* serve()
      const plain = yield* dlm(["serve", "--port", String(port)])
      assertFails(plain, 71, /cannot listen on 127\.0\.0\.1:\d+ \(.*EADDRINUSE.*\)\. Choose another/)
      const json = yield* dlm(["serve", "--port", String(port), "--json"])
      assert.strictEqual(json.status, 71)
      assert.strictEqual(JSON.parse(json.stdout).error, "SocketServerError")
    }))

  it.live("wants a folder of identities that it can read", () =>
    Effect.gen(function*() {
      const fs = yield* FileSystem.FileSystem
      const at = yield* folder
      const secret = "s".repeat(1023)
      assertFails(yield* dlm(["serve", "--identities", `${at}/none`]), 64, /--identities.*does not exist/)
      yield* fs.writeFileString(`${at}/bad.cfg`, `{ "Identity": "${secret}"`)
      const bad = yield* dlm(["serve", "--port", "0", "--identities", at])
      assertFails(bad, 64, /the identity in .*bad\.cfg cannot be used: it is no JSON/)
      assert.notInclude(bad.stderr, secret)
    }).pipe(Effect.provide(NodeServices.layer)))

  it.live("wants identities in the environment that it can read, and does not show them", () =>
    Effect.gen(function*() {
      const bad = yield* dlm(["serve", "--port", "0"], { env: { DLM_IDENTITIES: "[{ \"Identity\": \"hush\" }" } })
      assertFails(bad, 64, /DLM_IDENTITIES/)
      assert.notInclude(bad.stderr, "hush")
    }))

  it.live("has limits, by flags and by variables, and a flag beats a variable", () =>
    Effect.gen(function*() {
      const asked = (port: number, id: string, name: string) =>
        Effect.map(dlm(["lock", name, "--id", id, "--port", String(port)]), ({ status }) => status)
      const server = yield* startDlm(["serve", "--port", "0", "--max-owner-bytes", "4"], {
        env: { DLM_MAX_OWNER_BYTES: "2", DLM_MAX_NAME_BYTES: "3" }
      })
      const [, port] = yield* server.prints(/listening on 127.0.0.1:(\d+)\n/)
      assert.strictEqual(yield* asked(Number(port), "1234", "abc"), 0)
      assert.strictEqual(yield* asked(Number(port), "12345", "abd"), 77)
      assert.strictEqual(yield* asked(Number(port), "1234", "abcd"), 77)
      assertFails(yield* dlm(["serve", "--port", "0", "--max-waiting", "0"]), 64, /--max-waiting/)
      assertFails(yield* dlm(["serve", "--port", "0", "--max-idle", "soon"]), 64, /--max-idle.*Expected a duration/)
      const wrong = yield* dlm(["serve", "--port", "0"], { env: { DLM_MAX_IDLE: "0s" } })
      assertFails(wrong, 64, /DLM_MAX_IDLE/)
      const both = yield* dlm(["serve", "--port", "0", "--store", "sqlite:x.db", "--max-stored-bytes", "1000"])
      assertFails(both, 64, /--max-stored-bytes is for the memory store alone/)
    }), 180_000)

  it.live("refuses an address and a port that cannot be", () =>
    Effect.gen(function*() {
      assertFails(yield* dlm(["serve", "--port", "65536"]), 64, /--port.*between 0 and 65535/)
      assertFails(
        yield* dlm(["serve", "--host", "192.0.2.1", "--insecure"]),
        71,
        /cannot listen on 192\.0\.2\.1:37373 /
      )
      assertFails(yield* dlm(["serve", "here"]), 64, /Unexpected positional argument: "here"/)
    }))
})

const connected = (port: number) =>
  Effect.acquireRelease(
    Effect.callback<Net.Socket>((resume) => {
      const socket = Net.connect(port, "127.0.0.1", () => resume(Effect.succeed(socket)))
      socket.on("error", () => {})
    }),
    (socket) => Effect.sync(() => socket.destroy())
  ).pipe(
    Effect.map((socket) => ({
      closed: Effect.callback<void>((resume) => {
        if (socket.closed) return resume(Effect.void)
        socket.on("close", () => resume(Effect.void)).resume()
      })
    }))
  )
