/**
 * Who is given the page, and what with it: without a browser, so that a request may say what no browser would.
 */
import { assert, describe, it } from "@effect/vitest"
import { Effect } from "effect"
import * as fs from "node:fs"
import { modules } from "../../../../src/node/page/files.ts"
import * as Certificates from "../../../support/certificates.ts"
import { temporaryFolder } from "../../../support/programs.ts"
import { connect } from "../../../support/tcp.ts"
import { assertFails, dlm, startDlm } from "../../cli/processes.ts"
import { ask, client, identities, proof, serve } from "./serving.ts"

const token = "a-token-that-nobody-guesses"
const bearer = { authorization: `Bearer ${token}` }
const form = { "content-type": "application/x-www-form-urlencoded" }

const policy = "default-src 'none'; script-src 'self'; style-src 'self'; connect-src 'self'; img-src 'self' data:; " +
  "form-action 'self'; base-uri 'none'; frame-ancestors 'none'"

describe("the page of a server on a loopback address", () => {
  it.live(
    "is there without a token, for who asks this machine by its own name, and says what may be loaded",
    () =>
      Effect.gen(function*() {
        const { base, process } = yield* serve()
        yield* process.prints(/^dlm: page on http:\/\/127\.0\.0\.1:\d+\/\n/m)
        for (
          const path of [
            "/",
            "/name/a%2Fb",
            "/name/?of=..",
            "/page/style.css",
            ...modules.map((name) => `/page/${name}.js`)
          ]
        ) {
          const { headers, status } = yield* ask(base + path)
          assert.strictEqual(status, 200, path)
          assert.deepInclude(headers, {
            "content-security-policy": policy,
            "x-content-type-options": "nosniff",
            "referrer-policy": "no-referrer",
            "cross-origin-opener-policy": "same-origin",
            "cross-origin-embedder-policy": "require-corp",
            "cross-origin-resource-policy": "same-origin",
            "cache-control": "no-store"
          })
        }
        for (const path of ["/page/nothing.js", "/page/..%2F..%2FNodeTls.ts", "/page/Told.js", "/elsewhere"]) {
          assert.strictEqual((yield* ask(base + path)).status, 404, path)
        }
      }),
    60_000
  )

  it.live("is not there for the page of another site, by whatever name it leads here", () =>
    Effect.gen(function*() {
      const { base } = yield* serve()
      for (const path of ["/", "/name/a", "/events"]) {
        const rebound = yield* ask(base + path, { headers: { host: "evil.example" } })
        assert.strictEqual(rebound.status, 421, path)
        const cross = yield* ask(base + path, {
          headers: { "sec-fetch-site": "cross-site", "sec-fetch-mode": "no-cors" }
        })
        assert.strictEqual(cross.status, 403, path)
      }
      const json = { "content-type": "application/json" }
      const body = JSON.stringify({ name: "a", identity: "root", proof, reason: "x", force: true })
      for (
        const headers of [
          json,
          { ...json, origin: "http://evil.example" },
          { ...json, origin: base, "sec-fetch-site": "cross-site" },
          { ...json, origin: "null" },
          { ...json, origin: "http://evil.example", host: "evil.example" }
        ]
      ) {
        const { status } = yield* ask(`${base}/revoke`, { method: "POST", headers, body })
        assert.include([403, 421], status, JSON.stringify(headers))
      }
      // What scrapes and probes goes on as before.
      for (const path of ["/metrics", "/healthz", "/readyz"]) {
        assert.strictEqual((yield* ask(base + path, { headers: { host: "scraped.example" } })).status, 200, path)
      }
    }), 60_000)

  it.live(
    "takes no request to revoke that is none, or is long, and repeats nothing of it",
    () =>
      Effect.gen(function*() {
        const { base, process } = yield* serve(["--log-level", "trace"])
        const headers = { origin: base, "content-type": "application/json" }
        const whole = { name: "a", identity: "root", proof, reason: "x", force: false }
        const post = (body: string) => ask(`${base}/revoke`, { method: "POST", headers, body })
        const answers = [
          yield* post(proof),
          yield* post(JSON.stringify({ ...whole, force: "yes" })),
          yield* post(JSON.stringify({ ...whole, name: proof.repeat(100) }))
        ]
        assert.deepStrictEqual(answers.map(({ status }) => status), [400, 400, 400])
        const wrong = yield* post(JSON.stringify(whole))
        assert.deepStrictEqual([wrong.status, JSON.parse(wrong.body).isDone], [409, false])
        yield* process.signal("SIGTERM")
        const { stderr, stdout } = yield* process.ended
        assert.notInclude(JSON.stringify([answers, wrong, stderr, stdout]), proof.slice(0, 19))
      }),
    60_000
  )

  it.live("does not keep its server from ending", () =>
    Effect.gen(function*() {
      const { base, process } = yield* serve()
      const socket = yield* connect(Number(new URL(base).port))
      const heard = Effect.callback<void>((resume) => void socket.once("data", () => resume(Effect.void)))
      socket.write("GET /events HTTP/1.1\r\nHost: localhost\r\n\r\n")
      yield* heard
      yield* process.signal("SIGTERM")
      assert.strictEqual((yield* Effect.timeout(process.ended, "8 seconds")).status, 0)
    }), 60_000)

  it.live("is told what it shows to so many at a time, and no more", () =>
    Effect.gen(function*() {
      const { base } = yield* serve()
      const port = Number(new URL(base).port)
      const open = Effect.gen(function*() {
        const socket = yield* connect(port)
        socket.write("GET /events HTTP/1.1\r\nHost: localhost\r\n\r\n")
        yield* Effect.callback<void>((resume) => void socket.once("data", () => resume(Effect.void)))
        return socket
      })
      const sockets = yield* Effect.all(Array.from({ length: 32 }, () => open), { concurrency: 8 })
      assert.strictEqual((yield* ask(`${base}/events`)).status, 503)
      sockets[0]!.destroy()
      yield* Effect.timeout(
        Effect.repeat(Effect.map(open, (socket) => socket.readable), { until: (isOpen) => isOpen }),
        "5 seconds"
      )
    }), 60_000)
})

describe("a token", () => {
  it.live("opens the page and the metrics, is shown once, and leaves health open", () =>
    Effect.gen(function*() {
      const { base } = yield* serve([], { DLM_HTTP_TOKEN: token })
      for (const path of ["/events", "/metrics"]) {
        assert.strictEqual((yield* ask(base + path)).status, 401, path)
        assert.strictEqual(
          (yield* ask(base + path, { headers: { authorization: "Bearer another" } })).status,
          401,
          path
        )
      }
      assert.strictEqual((yield* ask(`${base}/metrics`, { headers: bearer })).status, 200)
      for (const path of ["/healthz", "/readyz", "/page/style.css"]) {
        assert.strictEqual((yield* ask(base + path)).status, 200, path)
      }
      const asked = yield* ask(base)
      assert.strictEqual(asked.status, 401)
      assert.match(asked.body, /type="password"/)
      // In an address it is nothing.
      assert.strictEqual((yield* ask(`${base}/?token=${token}`)).status, 401)
      const post = (body: string, headers: Record<string, string> = { origin: base }) =>
        ask(`${base}/enter`, { method: "POST", headers: { ...form, ...headers }, body })
      assert.strictEqual((yield* post("token=another")).status, 401)
      assert.strictEqual((yield* post(`token=${token}`, { origin: "http://evil.example" })).status, 403)
      assert.strictEqual((yield* post(`token=${"x".repeat(100_000)}`)).status, 401)
      const entered = yield* post(`token=${token}`)
      assert.deepStrictEqual([entered.status, entered.headers.location], [303, "/"])
      const [cookie] = entered.headers["set-cookie"]!
      assert.match(cookie!, /^dlm=[\w-]{43}; Path=\/; HttpOnly; SameSite=Strict$/)
      const headers = { cookie: cookie!.split(";")[0]! }
      for (const path of ["/", "/name/a", "/metrics"]) {
        assert.strictEqual((yield* ask(base + path, { headers })).status, 200, path)
      }
      // With a token it may have any name, as behind another server.
      assert.strictEqual((yield* ask(base, { headers: { ...headers, host: "dlm.example" } })).status, 200)
      assert.strictEqual((yield* ask(base, { headers: { cookie: "dlm=x" } })).status, 401)
      const left = yield* ask(`${base}/leave`, { method: "POST", headers: { ...headers, origin: base } })
      assert.match(left.headers["set-cookie"]![0]!, /^dlm=;.*(Max-Age=0|Expires=Thu, 01 Jan 1970)/)
    }), 60_000)

  it.live("is refused where it could be guessed, in one line that does not repeat it", () =>
    Effect.gen(function*() {
      for (const wrong of ["short", "with spaces in between"]) {
        const refused = yield* dlm(["serve", "--port", "0", "--http", "0"], { env: { DLM_HTTP_TOKEN: wrong } })
        assertFails(refused, 64, /DLM_HTTP_TOKEN|http-token/)
        assert.notInclude(refused.stderr, wrong)
      }
    }), 60_000)

  it.live(
    "is refused where there is nothing that it opens, as an argument; the variable may be there for others",
    () =>
      Effect.gen(function*() {
        const refused = yield* dlm(["serve", "--port", "0", "--http-token", token])
        assertFails(refused, 64, /--http-token opens nothing without --http/)
        assert.notInclude(refused.stderr, token)
        const { base } = yield* serve(["--http-token", token])
        assert.strictEqual((yield* ask(`${base}/metrics`, { headers: bearer })).status, 200)
        const process = yield* startDlm(["serve", "--port", "0"], { env: { DLM_HTTP_TOKEN: token } })
        yield* process.prints(/^dlm: listening on /m)
      }),
    60_000
  )
})

describe("an address that others can reach", () => {
  it.live("has metrics and health as before, and no page without a token", () =>
    Effect.gen(function*() {
      const { base, process } = yield* serve(["--host", "0.0.0.0", "--insecure"])
      yield* process.prints(/^dlm: no page, since others can reach it: that needs --http-token\n/m)
      const here = base.replace("0.0.0.0", "127.0.0.1")
      assert.strictEqual((yield* ask(`${here}/metrics`)).status, 200)
      for (const path of ["/", "/name/a", "/events", "/page/main.js"]) {
        assert.strictEqual((yield* ask(here + path)).status, 404, path)
      }
    }), 60_000)

  it.live(
    "has the page over TLS with a token, and lets a browser send its cookie by nothing else",
    () =>
      Effect.gen(function*() {
        const folder = yield* temporaryFolder("page-tls")
        const { ca, server } = yield* Certificates.make(folder)
        const flags = ["--tls-cert", server.cert, "--tls-key", server.key, "--identities", yield* identities]
        const refused = yield* dlm(["serve", "--host", "0.0.0.0", "--port", "0", "--http", "0"], {
          env: { DLM_HTTP_TOKEN: token }
        })
        assertFails(refused, 64, /--host 0\.0\.0\.0 lets other machines in: add --tls-cert, --tls-key and --identities/)
        const { base } = yield* serve(["--host", "0.0.0.0", ...flags], { DLM_HTTP_TOKEN: token })
        assert.match(base, /^https:/)
        const here = base.replace("0.0.0.0", "127.0.0.1")
        const trusting = { ca: fs.readFileSync(ca, "utf8") }
        assert.strictEqual((yield* ask(`${here}/healthz`, trusting)).status, 200)
        const entered = yield* ask(`${here}/enter`, {
          ...trusting,
          method: "POST",
          headers: { ...form, origin: here },
          body: `token=${token}`
        })
        assert.match(
          entered.headers["set-cookie"]![0]!,
          /^__Host-dlm=[\w-]{43}; Path=\/; HttpOnly; Secure; SameSite=Strict$/
        )
      }),
    60_000
  )
})

describe("what a page is told", () => {
  it.live("has neither an owner nor a secret in it", () =>
    Effect.gen(function*() {
      const { base, port } = yield* serve()
      const locker = yield* Effect.flatMap(client(port), (make) => make("the-name", "the-label"))
      yield* locker.lock
      const socket = yield* connect(Number(new URL(base).port))
      let text = ""
      const told = Effect.callback<void>((resume) =>
        void socket.on("data", (chunk) => {
          text += String(chunk)
          if (text.includes("the-name") && text.includes("event: names")) resume(Effect.void)
        })
      )
      socket.write("GET /events HTTP/1.1\r\nHost: localhost\r\n\r\n")
      yield* Effect.timeout(told, "5 seconds")
      const [, data] = /^data: (\{"now".*"rows":.*\})$/m.exec(text)!
      const [row] = (JSON.parse(data!) as { readonly rows: ReadonlyArray<object> }).rows
      assert.sameMembers(Object.keys(row!), ["name", "held", "waiting", "label", "since", "endsAt", "fence"])
    }), 60_000)
})
