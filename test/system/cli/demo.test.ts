import * as NodeServices from "@effect/platform-node/NodeServices"
import { assert, describe, it } from "@effect/vitest"
import { Effect, FileSystem } from "effect"
import { folder, start } from "./processes.ts"

const demo = Effect.fnUntraced(function*() {
  const TMPDIR = yield* folder
  const running = yield* start("examples/demo/demo.ts", [], {
    env: { DEMO_WORKERS: "3", DEMO_INCREMENTS: "20", TMPDIR }
  })
  return { ...running, left: (yield* FileSystem.FileSystem).readDirectory(TMPDIR) }
})

describe("npm run demo", () => {
  it.live(
    "finds each increment with the lock, and not without it, and keeps its other promises",
    () =>
      Effect.gen(function*() {
        const { ended, left } = yield* demo()
        const { status, stderr, stdout } = yield* ended
        assert.deepStrictEqual([status, stderr], [0, ""])
        const row = (title: string) =>
          new RegExp(`^${title} +(\\d+) +(\\d+) +(\\d+)$`, "m").exec(stdout)?.slice(1).map(Number)
        const [, , without] = row("the number in the file")!
        assert.deepStrictEqual(row("the number in the file"), [60, 60, without])
        assert.deepStrictEqual(row("lines in the log"), [60, 60, 60])
        assert.deepStrictEqual(row("different lines")?.slice(0, 2), [60, 60])
        assert.isBelow(without!, 60)
        assert.include(stdout, `${60 - without!} increments are lost`)
        assert.match(stdout, /^with the lock +25 %\nwith the lock +50 %\nwith the lock +75 %\nwith the lock +100 %$/m)
        assert.match(stdout, /A is killed\n +[\d.]+ s {2}B holds it, under fence \d+$/m)
        assert.match(
          stdout,
          /B writes under fence (\d+)\n(?:.*\n)*? +[\d.]+ s {2}A writes under fence \d+, and is REFUSED$/m
        )
        assert.match(stdout, /^ {2}At the most 3 held a permit at a time\.$/m)
        assert.deepStrictEqual(yield* left, [])
      }).pipe(Effect.provide(NodeServices.layer)),
    180_000
  )

  it.live("can be interrupted, and leaves nothing", () =>
    Effect.gen(function*() {
      const { ended, left, prints, signal } = yield* demo()
      yield* prints(/^with the lock +25 %$/m)
      yield* signal("SIGINT")
      // It has ended when its workers have: they hold its standard error.
      const { status, stderr } = yield* ended
      assert.deepStrictEqual([status, stderr], [130, ""])
      assert.deepStrictEqual(yield* left, [])
    }).pipe(Effect.provide(NodeServices.layer)), 180_000)
})
