import { PgClient } from "@effect/sql-pg"
import { assert, it } from "@effect/vitest"
import { Context, Effect, Exit, Layer, Redacted, Schedule, Scope, Stream } from "effect"
import { PostgresStore } from "effect-dlm/postgres"
import { Store } from "effect-dlm/server"
import * as fs from "node:fs"
import { afterAll, beforeAll } from "vitest"
import { postgresServerTls, programs } from "../../support/postgresServer.ts"
import { describeWith } from "../../support/programs.ts"
import { assertFails, dlm, startDlm } from "../cli/processes.ts"

describeWith("the Postgres store over TLS", { ...programs, openssl: "openssl" }, () => {
  const scope = Scope.makeUnsafe()
  let server: Effect.Success<typeof postgresServerTls>
  beforeAll(() => Effect.runPromise(Effect.map(Scope.provide(postgresServerTls, scope), (its) => void (server = its))))
  afterAll(() => Effect.runPromise(Scope.close(scope, Exit.void)))

  const required = () => Redacted.make(`${Redacted.value(server.url)}?sslmode=require`)

  /** What the sessions of others did last, and whether they are encrypted, once one of them listens. */
  const sessions = Effect.gen(function*() {
    const sql = yield* PgClient.PgClient
    return yield* sql<{ ssl: boolean; query: string }>`SELECT ssl, query FROM pg_stat_ssl
      JOIN pg_stat_activity USING (pid) WHERE backend_type = 'client backend' AND pid <> pg_backend_pid()`.pipe(
      Effect.repeat({
        until: (rows) => rows.some(({ query }) => query.startsWith("LISTEN")),
        schedule: Schedule.spaced("20 millis")
      })
    )
  }).pipe(Effect.provide(Layer.unwrap(Effect.sync(() => PgClient.layer({ url: server.url })))))

  for (const listensApart of [false, true]) {
    it.live(`encrypts all of its connections, ${listensApart ? "with" : "without"} a URL to listen at`, () =>
      Effect.gen(function*() {
        const tls = { ca: fs.readFileSync(server.ca, "utf8") }
        const listenUrl = listensApart ? server.url : undefined
        const context = yield* Layer.build(PostgresStore.layerUrl({ url: server.url, listenUrl, tls }))
        yield* Effect.forkScoped(Stream.runDrain(Context.get(context, Store.Store).sharing!.freed))
        const seen = yield* sessions
        assert.isAbove(seen.length, 1)
        assert.isTrue(seen.every(({ ssl }) => ssl), JSON.stringify(seen))
      }).pipe(Effect.scoped))
  }

  it.live("trusts no authority that it does not know", () =>
    Effect.gen(function*() {
      for (const options of [{ url: required() }, { url: server.url, tls: true }]) {
        const error = yield* Effect.flip(Effect.scoped(Layer.build(PostgresStore.layerUrl(options))))
        assert.match(error.message, /certificate/)
      }
    }))

  it.live("is that of the command too, with an authority that Node is told of", () =>
    Effect.gen(function*() {
      const env = { DLM_STORE: Redacted.value(required()) }
      assertFails(yield* dlm(["serve", "--port", "0"], { env }), 69, /postgres store failed \(.*certificate/)
      const serving = yield* startDlm(["serve", "--port", "0"], { env: { ...env, NODE_EXTRA_CA_CERTS: server.ca } })
      const [, port] = yield* serving.prints(/^dlm: listening on 127\.0\.0\.1:(\d+)\n/m)
      const [, place] = yield* serving.prints(/^dlm: locks are kept in (.*)\n/m)
      assert.strictEqual(place, `postgres://127.0.0.1:${server.port}/postgres`)
      assert.strictEqual((yield* dlm(["lock", "f", "--id", "me", "--port", port!])).status, 0)
      assert.isTrue((yield* sessions).every(({ ssl }) => ssl))
    }), 30_000)
})
