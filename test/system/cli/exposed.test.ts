/**
 * `dlm serve` for others: who may reach it, over TLS, what operators see, and what nobody sees.
 */
import { assert, describe, it } from "@effect/vitest"
import { Effect, Layer } from "effect"
import { Locker } from "effect-dlm"
import { NodeTalker, NodeTls } from "effect-dlm/node"
import * as fs from "node:fs"
import * as net from "node:net"
import * as path from "node:path"
import * as tls from "node:tls"
import * as Certificates from "../../support/certificates.ts"
import { temporaryFolder } from "../../support/programs.ts"
import { ask, exchange, line } from "../../support/tcp.ts"
import { assertFails, dlm, serve, startDlm } from "./processes.ts"

const secret = "canary".padEnd(1023, "7")

/** A folder with certificates, and one identity. */
const prepared = Effect.gen(function*() {
  const folder = yield* temporaryFolder("exposed")
  const certificates = yield* Certificates.make(folder)
  const identities = path.join(folder, "identities")
  fs.mkdirSync(identities)
  fs.writeFileSync(path.join(identities, "alice.cfg"), JSON.stringify({ Identity: secret }))
  const { server } = certificates
  return {
    folder,
    certificates,
    identity: path.join(identities, "alice.cfg"),
    known: ["--identities", identities],
    tls: ["--tls-cert", server.cert, "--tls-key", server.key]
  }
})

/** Asks over HTTP, and gives the status and the body. */
const get = (url: string) =>
  Effect.promise(async () => {
    const response = await fetch(url)
    return { status: response.status, type: response.headers.get("content-type"), body: await response.text() }
  })

describe("an address that other machines can reach", () => {
  it.live("needs TLS and identities, or to be told that it need not", () =>
    Effect.gen(function*() {
      const { known, tls } = yield* prepared
      for (const host of ["0.0.0.0", "::", "192.0.2.1", "127.example.com"]) {
        for (const flags of [[], tls, known]) {
          const refused = yield* dlm(["serve", "--host", host, "--port", "0", ...flags])
          assertFails(
            refused,
            64,
            /--host .* lets other machines in: add --tls-cert, --tls-key and --identities, or --in/
          )
        }
      }
      for (const flags of [[...tls, ...known], ["--insecure"]]) {
        const open = yield* startDlm(["serve", "--host", "0.0.0.0", "--port", "0", ...flags])
        yield* open.prints(/^dlm: listening on 0\.0\.0\.0:\d+\n/m)
      }
    }), 180_000)
})

describe("TLS", () => {
  it.live("is spoken by server and client, and checks the server's certificate", () =>
    Effect.gen(function*() {
      const { certificates, tls: flags } = yield* prepared
      const server = yield* serve(...flags)
      const { ca, foreignCa } = certificates
      const trusting = yield* server.dlm(["lock", "f", "--id", "me", "--tls-ca", ca])
      assert.deepStrictEqual([trusting.status, trusting.stdout], [0, "locked\n"])
      const byConfig = yield* server.dlm(["test", "f", "--id", "me"], { env: { DLM_TLS_CA: ca } })
      assert.strictEqual(byConfig.status, 0)
      assertFails(yield* server.dlm(["test", "f", "--id", "me", "--tls-ca", foreignCa]), 69, /certificate/)
      assertFails(yield* server.dlm(["test", "f", "--id", "me", "--tls"]), 69, /certificate|self-signed/)
      // Without TLS nothing is understood, on either side.
      assert.notStrictEqual((yield* server.dlm(["test", "f", "--id", "me"])).status, 0)
      const plain = yield* serve()
      assert.notStrictEqual((yield* plain.dlm(["test", "f", "--id", "me", "--tls-ca", ca])).status, 0)
    }), 180_000)

  it.live("asks for a certificate of the client where an authority is named", () =>
    Effect.gen(function*() {
      const { certificates, tls: flags } = yield* prepared
      const { ca, client, foreign } = certificates
      const server = yield* serve(...flags, "--tls-ca", ca)
      const ours = yield* server.dlm([
        "lock",
        "f",
        "--id",
        "me",
        "--tls-ca",
        ca,
        "--tls-cert",
        client.cert,
        "--tls-key",
        client.key
      ])
      assert.strictEqual(ours.status, 0)
      assert.strictEqual((yield* server.dlm(["test", "f", "--id", "me", "--tls-ca", ca])).status, 69)
      const theirs = yield* server.dlm([
        "test",
        "f",
        "--id",
        "me",
        "--tls-ca",
        ca,
        "--tls-cert",
        foreign.cert,
        "--tls-key",
        foreign.key
      ])
      assert.strictEqual(theirs.status, 69)
    }), 180_000)

  it.live("is 1.2 at the least", () =>
    Effect.gen(function*() {
      const { certificates, tls: flags } = yield* prepared
      const { port } = yield* serve(...flags)
      const connect = (options: tls.ConnectionOptions) =>
        Effect.callback<string>((resume) => {
          const socket = tls.connect(
            { port, host: "127.0.0.1", ca: fs.readFileSync(certificates.ca), ...options },
            () => resume(Effect.succeed(socket.getProtocol() ?? ""))
          )
          socket.on("error", () => resume(Effect.succeed("refused")))
          return Effect.sync(() => void socket.destroy())
        })
      assert.strictEqual(yield* connect({}), "TLSv1.3")
      assert.strictEqual(yield* connect({ maxVersion: "TLSv1.2" }), "TLSv1.2")
      const old = { minVersion: "TLSv1", maxVersion: "TLSv1.1", ciphers: "DEFAULT@SECLEVEL=0" } as const
      assert.strictEqual(yield* connect(old), "refused")
    }))

  it.live("of a library's user comes from files too", () =>
    Effect.gen(function*() {
      const { certificates, tls: flags } = yield* prepared
      const { port } = yield* serve(...flags)
      const files = { ca: certificates.ca }
      const locker = yield* Effect.provideContext(
        Locker.make("f"),
        yield* Layer.build(NodeTalker.layerFiles({ port }, files))
      )
      yield* locker.lock
      const missing = yield* Effect.flip(NodeTls.fromFiles({ ca: "/nonexistent.pem" }))
      assert.match(missing.message, /^\/nonexistent\.pem cannot be used for TLS: ENOENT/)
      const notPem = yield* Effect.flip(NodeTls.fromFiles({ ca: import.meta.filename }))
      assert.match(notPem.message, /it is not in PEM/)
      const alone = yield* Effect.flip(NodeTls.fromFiles({ cert: certificates.client.cert }))
      assert.match(alone.message, /go together/)
    }))

  it.live("wants a certificate with its key", () =>
    Effect.gen(function*() {
      const { certificates } = yield* prepared
      const { ca, server } = certificates
      assertFails(yield* dlm(["serve", "--tls-cert", server.cert]), 64, /go together/)
      assertFails(yield* dlm(["serve", "--tls-ca", ca]), 64, /--tls-cert and --tls-key/)
      assertFails(yield* dlm(["serve", "--tls-cert", "/nonexistent", "--tls-key", server.key]), 64, /does not exist/)
      assertFails(
        yield* dlm(["serve", "--port", "0", "--tls-cert", server.cert, "--tls-key", certificates.client.key]),
        64,
        /together they cannot be used: .*key values mismatch/
      )
    }), 120_000)
})

describe("what operators see", () => {
  const observed = Effect.fnUntraced(function*(...flags: ReadonlyArray<string>) {
    const process = yield* startDlm(["serve", "--port", "0", "--http", "0", ...flags])
    const [, http] = yield* process.prints(/^dlm: metrics and health on (http:\S+)\n/m)
    const [, port] = yield* process.prints(/^dlm: listening on 127\.0\.0\.1:(\d+)\n/m)
    return { process, http: http!, port: Number(port) }
  })

  it.live("is metrics and health, over HTTP", () =>
    Effect.gen(function*() {
      const { http, port } = yield* observed()
      const request = { ID: "the-owner", FileName: "the-name", Action: "Lock", Expire: "60" }
      yield* ask(port, line(request))
      yield* ask(port, line({ ...request, ID: "another" }))
      yield* ask(port, "no request\n")
      assert.deepInclude(yield* get(`${http}/healthz`), { status: 200, body: "ok\n" })
      assert.deepInclude(yield* get(`${http}/readyz`), { status: 200, body: "ok\n" })
      assert.strictEqual((yield* get(`${http}/elsewhere`)).status, 404)
      const metrics = yield* get(`${http}/metrics`)
      assert.match(metrics.type!, /^text\/plain/)
      assert.match(metrics.body, /^dlm_server_requests_total\{action="Lock",status="Locked"\} 1$/m)
      assert.match(metrics.body, /^dlm_server_requests_total\{action="Lock",status="NotOwner"\} 1$/m)
      assert.match(metrics.body, /^dlm_server_bad_requests_total\{.*\} 1$/m)
      assert.notMatch(metrics.body, /the-owner|the-name/)
    }), 120_000)

  it.live("is logs of one JSON object a line, with --json", () =>
    Effect.gen(function*() {
      const server = yield* serve()
      yield* ask(server.port, "no request\n")
      yield* server.process.signal("SIGTERM")
      const { stderr } = yield* server.process.ended
      const [first] = stderr.trim().split("\n").map((text) => JSON.parse(text))
      assert.deepInclude(first, { level: "WARN" })
      assert.match(JSON.stringify(first.message), /A request was refused/)
    }))

  it.live("says that its port is taken", () =>
    Effect.gen(function*() {
      const { port } = yield* observed()
      assertFails(yield* dlm(["serve", "--port", "0", "--http", String(port)]), 71, /cannot listen on 127.*EADDRINUSE/)
    }), 120_000)
})

describe("HTTP sent to the port of the locks", () => {
  it.live("does nothing", () =>
    Effect.gen(function*() {
      const server = yield* serve()
      const locker = yield* server.locker("f", "me")
      yield* locker.lock
      for (
        const method of ["GET / HTTP/1.1\r\nHost: x\r\n\r\n", "POST /f HTTP/1.1\r\nContent-Length: 4\r\n\r\nLock\r\n"]
      ) {
        const text = yield* exchange(server.port, method)
        assert.notMatch(text, /HTTP/)
      }
      assert.strictEqual(yield* locker.holder, "Me")
    }))
})

describe("a restart grace", () => {
  it.live("grants nothing until it is over", () =>
    Effect.gen(function*() {
      const long = yield* serve("--restart-grace", "1h")
      assert.strictEqual((yield* long.dlm(["lock", "f", "--id", "me"])).status, 75)
      const short = yield* serve("--restart-grace", "2s")
      const waited = yield* short.dlm(["run", "--wait", "20s", "f", "--", "echo", "alone"])
      assert.deepStrictEqual([waited.status, waited.stdout], [0, "alone\n"])
      assertFails(
        yield* dlm(["serve", "--store", "sqlite:/tmp/x.db", "--restart-grace", "1s"]),
        64,
        /--restart-grace is for the memory store alone/
      )
    }), 180_000)
})

describe("a store of the command", () => {
  it.live("in a file is there after a restart", () =>
    Effect.gen(function*() {
      const folder = yield* temporaryFolder("serve")
      const file = path.join(folder, "locks.db")
      const first = yield* serve("--store", `sqlite:${file}?synchronous=full`)
      yield* (yield* first.locker("f", "me")).lock
      yield* first.process.signal("SIGKILL")
      yield* first.process.ended
      const second = yield* serve("--store", `sqlite:${file}`)
      assert.strictEqual(yield* (yield* second.locker("f", "me")).holder, "Me")
      assert.strictEqual(yield* (yield* second.locker("f", "other")).holder, "Another")
      const byConfig = yield* startDlm(["serve", "--port", "0"], { env: { DLM_STORE: `sqlite:${file}` } })
      const [, port] = yield* byConfig.prints(/^dlm: listening on 127\.0\.0\.1:(\d+)\n/m)
      assert.strictEqual((yield* dlm(["test", "f", "--id", "other", "--port", port!])).status, 75)
    }), 180_000)

  it.live("is named by a word that is known, and what it says is not repeated", () =>
    Effect.gen(function*() {
      for (const place of ["canary://user:canary@host", "", "memoryx"]) {
        const refused = yield* dlm(["serve", "--port", "0", "--store", place])
        assertFails(refused, 64, /--store .* cannot be read. Write it as one of: memory, sqlite:FILE/)
        assert.notMatch(refused.stderr, /canary/)
      }
      for (
        const place of [
          "redis://:canary@127.0.0.1:1",
          "postgres://canary:canary@127.0.0.1:1/canary",
          "etcd://u:canary@127.0.0.1:1"
        ]
      ) {
        const refused = yield* dlm(["serve", "--port", "0", "--store", place])
        assertFails(refused, 69, /store (?:failed|cannot be reached) \(.*ECONNREFUSED/)
        assert.notMatch(refused.stderr + refused.stdout, /canary/)
      }
    }), 180_000)

  it.live("that cannot be read is wrong use, says how to write it, and is not repeated", () =>
    Effect.gen(function*() {
      const wrong = {
        "sqlite:FILE": ["sqlite:", "sqlite:canary.db?synchronous=bad"],
        "redis://": ["redis:canary", "redis://u:canary@host:port", "redis://u:canary%zz@host", "redis://u:12#canary@h"],
        "redis+sentinel://": [
          "redis+sentinel://u:canary@host",
          "redis+sentinel://u:canary%zz@host/main",
          "redis+sentinel://u:canary@host:65536/main",
          "redis+sentinel://u:canary@host,,host/main"
        ],
        "postgres://": ["postgres:canary", "postgres://u:canary@[/", "postgres://u:canary%@host/db"],
        "etcd://": ["etcd://", "etcd://u:ca@nary@host", "etcd://u:canary%f@host", "etcd://u:canary@host:port"]
      }
      const all = Object.entries(wrong).flatMap(([kind, places]) => places.map((place) => [kind, place] as const))
      yield* Effect.forEach(all, ([kind, place]) =>
        Effect.map(dlm(["serve", "--port", "0"], { env: { DLM_STORE: place } }), (refused) => {
          assertFails(refused, 64, /--store \(or DLM_STORE\) cannot be read/)
          assert.include(refused.stderr, `Write it as ${kind.replace("FILE", "")}`)
          assert.notMatch(refused.stderr, /canary|ca@nary/)
        }), { concurrency: 2 })
      const listening = yield* dlm(["serve", "--port", "0", "--store", "postgres://127.0.0.1:1/db"], {
        env: { DLM_POSTGRES_LISTEN_URL: "postgres://u:canary@[/" }
      })
      assertFails(listening, 64, /DLM_POSTGRES_LISTEN_URL cannot be read/)
      assert.notMatch(listening.stderr, /canary/)
    }), 120_000)
})

describe("a secret", () => {
  it.live("is in no log, answer, metric, span, error or file", () =>
    Effect.gen(function*() {
      const { folder, identity, known } = yield* prepared
      const file = path.join(folder, "locks.db")
      const server = yield* startDlm([
        "serve",
        "--port",
        "0",
        "--http",
        "0",
        "--store",
        `sqlite:${file}`,
        "--log-level",
        "trace",
        ...known
      ])
      const [, http] = yield* server.prints(/^dlm: metrics and health on (http:\S+)\n/m)
      const [, port] = yield* server.prints(/^dlm: listening on 127\.0\.0\.1:(\d+)\n/m)
      const at = Number(port)
      const request = { ID: "me", FileName: "f", Action: "Lock", Expire: "60", Name: "alice", Identity: secret }
      const seen: Array<unknown> = []
      for (
        const bytes of [
          line(request),
          line({ ...request, Identity: secret.replace("7", "8") }),
          line({ ...request, Name: "../alice" }),
          line({ ...request, Action: "Put", DataStore: 7 }),
          line([secret]),
          `${secret}\n`,
          line({ ...request, Pad: "x".repeat(400_000) })
        ]
      ) seen.push(yield* ask(at, bytes))
      // Cut off in the middle.
      yield* Effect.callback<void>((resume) => {
        const socket = net.connect(at, "127.0.0.1", () => {
          socket.end(line(request).slice(0, 1000))
        })
        socket.resume().on("close", () => resume(Effect.void))
      })
      seen.push(yield* dlm(["lock", "g", "--id", "me", "--identity", identity, "--port", port!, "--json"]))
      seen.push(yield* dlm(["put", "f", "x", "--id", "you", "--identity", identity, "--port", port!, "--json"]))
      seen.push(yield* dlm(["lock", "g", "--id", "me", "--identity", identity, "--port", "1", "--log-level", "trace"]))
      seen.push(yield* get(`${http}/metrics`))
      yield* server.signal("SIGTERM")
      seen.push(yield* server.ended)
      for (const name of fs.readdirSync(folder)) {
        if (name.startsWith("locks.db")) seen.push(fs.readFileSync(path.join(folder, name), "latin1"))
      }
      assert.isAbove(seen.length, 12)
      assert.notInclude(JSON.stringify(seen), secret.slice(0, 20))
    }), 180_000)
})
