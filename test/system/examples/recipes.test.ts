/**
 * Each recipe, by real processes.
 */
import * as NodeServices from "@effect/platform-node/NodeServices"
import { PgClient } from "@effect/sql-pg"
import { assert, describe, it } from "@effect/vitest"
import { Effect, FileSystem, Redacted } from "effect"
import { createServer, type Server } from "node:http"
import type { AddressInfo } from "node:net"
import { postgresServer, programs } from "../../support/postgresServer.ts"
import { describeWith } from "../../support/programs.ts"
import { folder, serve, start } from "../cli/processes.ts"

const recipe = (name: string, env: Record<string, string>) => start(`examples/recipes/${name}.ts`, [], { env })

/** Starts so many processes of a recipe, and waits for them: what each has printed. */
const together = (many: number, name: string, env: Record<string, string>) =>
  Effect.gen(function*() {
    const processes = yield* Effect.replicateEffect(recipe(name, env), many)
    const ended = yield* Effect.forEach(processes, (process) => process.ended, { concurrency: "unbounded" })
    for (const { status, stderr } of ended) assert.deepStrictEqual([status, stderr], [0, ""])
    return ended.map(({ stdout }) => stdout.trimEnd().split("\n"))
  })

/** A server over HTTP that counts how many ask it at a time. */
const counting = Effect.acquireRelease(
  Effect.callback<{ readonly server: Server; readonly url: string; readonly count: { most: number } }>((resume) => {
    const count = { now: 0, most: 0 }
    const server = createServer((_, response) => {
      count.most = Math.max(count.most, ++count.now)
      setTimeout(() => {
        count.now--
        response.end("shipped")
      }, 100)
    }).listen(0, "127.0.0.1", () => {
      const { port } = server.address() as AddressInfo
      resume(Effect.succeed({ server, url: `http://127.0.0.1:${port}`, count }))
    })
  }),
  ({ server }) => Effect.sync(() => void server.close())
)

describe("examples/recipes", () => {
  it.live("partner: no more than three calls at once, over all processes", () =>
    Effect.gen(function*() {
      const { port } = yield* serve()
      const partner = yield* counting
      const outputs = yield* together(3, "partner", { DLM_PORT: String(port), PARTNER_URL: partner.url })
      assert.strictEqual(outputs.flat().length, 18)
      assert.strictEqual(partner.count.most, 3)
    }).pipe(Effect.provide(NodeServices.layer)), 60_000)

  it.live("cache: one asks, and all get what it got", () =>
    Effect.gen(function*() {
      const { port } = yield* serve()
      const outputs = yield* together(3, "cache", { DLM_PORT: String(port) })
      assert.strictEqual(outputs.flat().filter((line) => line === "asks the bank").length, 1)
      assert.strictEqual(new Set(outputs.map((lines) => lines.at(-1))).size, 1)
    }).pipe(Effect.provide(NodeServices.layer)), 60_000)

  it.live("handOver: the next goes on where one was stopped, and nobody comes between", () =>
    Effect.gen(function*() {
      const { locker, port } = yield* serve()
      const HANDOVER_FOLDER = yield* folder
      const env = { HANDOVER_FOLDER, DLM_PORT: String(port) }
      const first = yield* recipe("handOver", env)
      yield* first.prints(/row 1 is done/)
      yield* first.signal("SIGTERM")
      assert.match((yield* first.ended).stdout, /leaves row 2 to the next\n$/)
      assert.strictEqual(yield* (yield* locker("import", "another")).holder, "Another")
      const [second] = yield* together(1, "handOver", env)
      assert.deepStrictEqual(second, ["row 2 is done", "row 3 is done", "row 4 is done"])
      assert.strictEqual(yield* (yield* locker("import", "another")).holder, "Nobody")
      const fs = yield* FileSystem.FileSystem
      assert.deepStrictEqual(yield* fs.readDirectory(HANDOVER_FOLDER), [])
    }).pipe(Effect.provide(NodeServices.layer)), 60_000)
})

describeWith("examples/recipes in Postgres", programs, () => {
  it.live("migration: once, though three start together", () =>
    Effect.gen(function*() {
      const { url } = yield* postgresServer
      const outputs = yield* together(3, "migration", { DLM_STORE: Redacted.value(url) })
      assert.deepStrictEqual(outputs.map((lines) => lines.at(-1)), ["ready", "ready", "ready"])
      assert.deepStrictEqual(
        outputs.flat().filter((line) => line.startsWith("migrated")),
        ["migrated 0", "migrated 1"]
      )
    }), 120_000)

  it.live("fenced: one that was paused past its lease writes nothing", () =>
    Effect.gen(function*() {
      const { url } = yield* postgresServer
      const env = { DLM_STORE: Redacted.value(url) }
      // So long that it is stopped before it writes, on a machine that is busy too: stopped while it does it would keep others out.
      const paused = yield* recipe("fenced", { ...env, FENCED_TIME: "6 seconds" })
      yield* paused.prints(/^works$/m)
      yield* paused.signal("SIGSTOP")
      const [next] = yield* together(1, "fenced", env)
      assert.deepStrictEqual(next, ["works", "has written"])
      yield* paused.signal("SIGCONT")
      const { stdout } = yield* paused.ended
      assert.match(stdout, /^works\n(?:lost|refused): .*\n$/)
      const written = yield* Effect.flatMap(PgClient.PgClient, (sql) => sql`SELECT process FROM totals`).pipe(
        Effect.provide(PgClient.layer({ url }))
      )
      assert.strictEqual(written.length, 1)
    }), 120_000)
})
