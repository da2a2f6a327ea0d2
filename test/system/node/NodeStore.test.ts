/**
 * The store that a variable names, for a program as for the command.
 */
import { NodeServices } from "@effect/platform-node"
import { assert, describe, it } from "@effect/vitest"
import { ConfigProvider, Effect, FileSystem, Layer, Logger, Option, Redacted } from "effect"
import { Lease } from "effect-dlm"
import { NodeStore } from "effect-dlm/node"
import { execFile } from "node:child_process"
import * as path from "node:path"

const warnings: Array<string> = []
const noting = Logger.layer([Logger.make<unknown, void>(({ message }) => void warnings.push(String(message)))])

const configured = (variables: Record<string, string>) =>
  NodeStore.layerTalkerConfig.pipe(
    Layer.provide(ConfigProvider.layer(ConfigProvider.fromEnv({ env: variables }))),
    Layer.provide(noting)
  )

/** Whether one that has a store of these variables finds taken what another of them holds. */
const excludes = (variables: Record<string, string>) => {
  const own = <A, E>(self: Effect.Effect<A, E, Layer.Success<ReturnType<typeof configured>>>) =>
    Effect.provide(self, Layer.fresh(configured(variables)))
  const other = own(Lease.withLockIfAvailable(Effect.void, "a"))
  return Effect.map(own(Lease.withLock(other, "a")), Option.isNone)
}

const open = (url: string) => Effect.flip(Effect.scoped(Layer.build(NodeStore.layerUrl({ url: Redacted.make(url) }))))

describe("NodeStore", () => {
  it.live("is memory, where DLM_STORE names none, and the one that it names", () =>
    Effect.gen(function*() {
      assert.isFalse(yield* excludes({ DLM_STORE: "memory" }))
      assert.deepStrictEqual(warnings, [])
      assert.isFalse(yield* excludes({}))
      assert.match(warnings[0]!, /DLM_STORE is not set: locks are kept in the memory of this process/)
      const folder = yield* Effect.flatMap(FileSystem.FileSystem, (files) => files.makeTempDirectoryScoped())
      assert.isTrue(yield* excludes({ DLM_STORE: `sqlite:${folder}/locks.db` }))
    }).pipe(Effect.scoped, Effect.provide(NodeServices.layer)))

  it.live("says how it is written, and shows nothing of what was given", () =>
    Effect.gen(function*() {
      const unknown = yield* open("mysql://me:secret@host/db")
      assert.strictEqual(unknown._tag, "StoreUrlError")
      assert.match(unknown.message, /Write it as one of: memory, sqlite:FILE/)
      const malformed = yield* open("redis://me:secret@")
      assert.strictEqual(malformed._tag, "StoreUrlError")
      for (const { message } of [unknown, malformed]) assert.notInclude(message, "secret")
    }))

  it.live("names the package that is not installed", () =>
    Effect.gen(function*() {
      const hooks = `import { registerHooks } from "node:module"
registerHooks({ resolve: (name, context, next) => {
  if (name === "redis") throw Object.assign(new Error("not installed"), { code: "ERR_MODULE_NOT_FOUND" })
  return next(name, context)
} })`
      const bin = path.resolve(import.meta.dirname, "../../../src/bin.ts")
      const args = ["--import", `data:text/javascript,${encodeURIComponent(hooks)}`, bin]
      const stderr = yield* Effect.callback<string>((resume) => {
        execFile(
          process.execPath,
          [...args, "serve", "--port", "0", "--store", "redis://127.0.0.1:1"],
          (_, __, stderr) => resume(Effect.succeed(stderr))
        )
      })
      assert.strictEqual(stderr, "dlm: the redis store needs the package redis. Install it: npm install redis\n")
    }))
})
