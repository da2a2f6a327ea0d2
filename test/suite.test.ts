/**
 * What `npm test` runs is deterministic, and needs nothing but Node: no socket, no process but that of the smoke test,
 * no store but memory and SQLite, no real time. What needs more is in test/system.
 */
import { assert, describe, it } from "@effect/vitest"
import * as fs from "node:fs"
import * as path from "node:path"

/** The one test that may start a process: it sees that the command starts. */
const smoke = "cli/smoke.test.ts"

const realModules =
  /^node:(?:child_process|cluster|dgram|http|http2|https|net|tls|worker_threads)$|^effect\/process|^@effect\/sql-pg/
const realRooms = /^(?:node|redis|postgres|etcd)\//
/** Files of those rooms that touch nothing real. */
const pure = new Set([
  "postgres/escape.ts",
  "etcd/listing.ts",
  "etcd/operations.ts",
  "etcd/url.ts",
  "etcd/EtcdClient.ts",
  "etcd/watching.ts",
  "node/page/Asking.ts",
  "node/page/Known.ts",
  "node/page/Names.ts",
  "node/page/OneName.ts",
  "node/page/Rates.ts",
  "node/page/Watching.ts",
  "node/page/browser/Rows.ts",
  "node/page/browser/Told.ts",
  "node/page/browser/paths.ts",
  "node/page/browser/plotting.ts",
  "node/page/browser/time.ts",
  "node/page/browser/visible.ts",
  "node/page/origin.ts",
  "postgres/url.ts",
  "redis/listing.ts",
  "redis/messages.ts",
  "redis/url.ts"
])
/** Real time: a test that lives, a clock that is not the test's, a timer. Real sockets of Effect's. */
const realThings =
  /\bit\.live\b|\bexcludeTestServices: true\b|\bwithLive\b|\bset(?:Timeout|Interval)\(|\bperformance\.now\b|\bDate\.now\b|\bNode(?:Socket|Http)\w*/g

const src = path.join(import.meta.dirname, "..", "src")
const files = fs.globSync("**/*.test.ts", { cwd: import.meta.dirname })
  .filter((file) => !file.startsWith("system/") && file !== path.basename(import.meta.filename)).toSorted()

/** What a file of the tests, and what it imports of them, has that may not be here. */
const problemsOf = (file: string, seen = new Set<string>()): ReadonlyArray<string> => {
  if (seen.has(file)) return []
  seen.add(file)
  const text = fs.readFileSync(path.join(import.meta.dirname, file), "utf8")
  const imported = text.matchAll(/(?:^import |^(?:import|export)\b[^"'`;]*? from |\bimport\()"([^"]*)"/gm)
  return [
    ...Array.from(text.matchAll(realThings), ([found]) => `${file}: ${found}`),
    ...Array.from(imported, ([, name]) => name!).flatMap((name) => {
      const problem = `${file}: ${name}`
      if (!name.startsWith(".")) {
        return realModules.test(name) || realRooms.test(`${name.replace(/^effect-dlm\//, "")}/`) ? [problem] : []
      }
      const target = path.resolve(import.meta.dirname, path.dirname(file), name)
      const ofSrc = path.relative(src, target)
      if (!ofSrc.startsWith("..")) return realRooms.test(ofSrc) && !pure.has(ofSrc) ? [problem] : []
      return problemsOf(path.relative(import.meta.dirname, target), seen)
    })
  ]
}

describe("npm test", () => {
  it("has tests", () => assert.include(files, smoke))

  it.each(files)("%s needs nothing but Node and the test's clock", (file) => {
    assert.deepStrictEqual(problemsOf(file), file === smoke ? [`${smoke}: node:child_process`] : [])
  })
})
