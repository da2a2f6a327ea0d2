/**
 * What has happened, by real processes: `dlm log`, the file of `dlm serve --audit`, and `dlm audit`, which checks it.
 */
import * as NodeServices from "@effect/platform-node/NodeServices"
import { assert, describe, it } from "@effect/vitest"
import { Effect, Schedule } from "effect"
import * as fs from "node:fs"
import * as Path from "node:path"
import { fillDisk, smallDisk } from "../../support/disk.ts"
import { dlm, folder, serve, startDlm } from "./processes.ts"

interface Line {
  readonly Audit?: string
  readonly Event?: string
  readonly FileName?: string
  readonly Number?: string
  readonly Count?: string
}

const linesOf = (file: string): ReadonlyArray<Line> =>
  (fs.existsSync(file) ? fs.readFileSync(file, "utf8") : "").split("\n").slice(0, -1).map((line) => JSON.parse(line))

/** Waits until the file says so. */
const says = (file: string, is: (lines: ReadonlyArray<Line>) => boolean) =>
  Effect.suspend(() => is(linesOf(file)) ? Effect.void : Effect.fail("not yet")).pipe(
    Effect.retry({ schedule: Schedule.spaced("20 millis"), times: 500 }),
    Effect.mapError(() => new Error(`the file is ${JSON.stringify(linesOf(file)).slice(0, 2000)}`)),
    Effect.orDie
  )

const eventsIn = (lines: ReadonlyArray<Line>) =>
  lines.flatMap(({ Event, FileName }) => Event === undefined ? [] : [`${Event} ${FileName}`])

const has = (event: string) => (lines: ReadonlyArray<Line>) => eventsIn(lines).includes(event)

const services = Effect.provide(NodeServices.layer)

/** What the checker says of files, and its status. */
const audited = (...args: ReadonlyArray<string>) =>
  Effect.map(dlm(["audit", ...args]), ({ status, stderr, stdout }) => ({ status, stdout, stderr }))

describe("dlm log", () => {
  it.live("tells what has happened to names, a line each, and its last events", () =>
    Effect.gen(function*() {
      const server = yield* serve()
      assert.strictEqual((yield* server.dlm(["lock", "a", "--id", "me", "--label", "ada\u001b[31m"])).status, 0)
      assert.strictEqual((yield* server.dlm(["unlock", "a", "--id", "me"])).status, 0)
      assert.strictEqual((yield* server.dlm(["lock", "b", "--id", "me"])).status, 0)
      const { status, stdout } = yield* server.dlm(["log"])
      assert.strictEqual(status, 0)
      const [first, second, third] = stdout.trim().split("\n")
      assert.match(first!, /^\d{4}-\d\d-\d\dT[\d:.]+Z taken "a", by "ada\\u001b\[31m", fence \d+, waited 0ms$/)
      assert.match(second!, /released "a", by "ada\\u001b\[31m", fence \d+, held /)
      assert.match(third!, / taken "b", /)
      assert.strictEqual((yield* server.dlm(["log", "b"])).stdout, `${third}\n`)
      assert.strictEqual((yield* server.dlm(["log", "--count", "2"])).stdout, `${second}\n${third}\n`)
      const json = (yield* server.dlm(["log", "a", "--json", "--count", "1"])).stdout.trim().split("\n")
      const { Event, FileName, Label } = JSON.parse(json[0]!)
      assert.deepStrictEqual([json.length, Event, FileName, Label], [1, "Released", "a", "ada\u001b[31m"])
    }).pipe(Effect.scoped, services), 60_000)

  it.live("follows what happens next, until it is told to end", () =>
    Effect.gen(function*() {
      const server = yield* serve()
      const locker = yield* server.locker("a", "me")
      yield* locker.lock
      const log = yield* server.start(["log", "--follow", "--count", "0"])
      // That it has begun is seen by the first event that it tells: all are made until then.
      yield* Effect.andThen(locker.unlock, locker.lock).pipe(
        Effect.repeat(Schedule.spaced("100 millis")),
        Effect.raceFirst(log.prints(/released "a"/))
      )
      yield* log.signal("SIGINT")
      assert.strictEqual((yield* log.ended).status, 130)
    }).pipe(Effect.scoped, services), 60_000)

  it.live(
    "ends with 76 where the server keeps none, and with 69 where there is no server",
    () =>
      Effect.gen(function*() {
        const server = yield* serve("--history", "0")
        const { status, stderr } = yield* server.dlm(["log"])
        assert.deepStrictEqual([status, stderr.trim().split("\n").length], [76, 1])
        assert.match(stderr, /keeps no events/)
        yield* server.process.signal("SIGKILL")
        yield* server.process.ended
        assert.strictEqual((yield* server.dlm(["log"])).status, 69)
      }).pipe(Effect.scoped, services),
    60_000
  )
})

describe("dlm serve --audit", () => {
  it.live("writes all that happens, and the checker finds nothing wrong with it", () =>
    Effect.gen(function*() {
      const file = Path.join(yield* folder, "audit.log")
      const server = yield* serve("--audit", file)
      yield* Effect.forEach(["a", "b", "c"], (name) =>
        Effect.gen(function*() {
          const locker = yield* server.locker(name, "the-owner")
          for (let i = 0; i < 50; i++) yield* Effect.andThen(locker.lock, locker.unlock)
          yield* locker.lock
        }), { concurrency: "unbounded", discard: true })
      yield* server.process.signal("SIGTERM")
      assert.strictEqual((yield* server.process.ended).status, 0)
      // What was noted last is there too.
      assert.deepStrictEqual(linesOf(file).length, 1 + 3 * 101)
      assert.notInclude(fs.readFileSync(file, "utf8"), "the-owner")
      assert.deepStrictEqual(yield* audited(file), {
        status: 0,
        stdout: "1 file, 303 events: no violations\n",
        stderr: ""
      })
    }).pipe(Effect.scoped, services), 60_000)

  it.live(
    "goes on in the same file after a kill in the middle, also behind a line that was torn",
    () =>
      Effect.gen(function*() {
        const file = Path.join(yield* folder, "audit.log")
        const first = yield* serve("--audit", file)
        yield* (yield* first.locker("a", "me")).lock
        yield* says(file, has("Taken a"))
        yield* first.process.signal("SIGKILL")
        yield* first.process.ended
        fs.appendFileSync(file, "{\"Number\":\"2\",\"At\":\"17")
        const second = yield* serve("--audit", file)
        yield* (yield* second.locker("a", "me")).lock
        yield* second.process.signal("SIGTERM")
        yield* second.process.ended
        const lines = fs.readFileSync(file, "utf8").split("\n")
        assert.strictEqual(lines[2], "{\"Number\":\"2\",\"At\":\"17")
        assert.match(lines[3]!, /^\{"Audit":"Began"/)
        const { status, stdout } = yield* audited(file)
        assert.deepStrictEqual([status, stdout], [0, "1 file, 2 events: no violations, 1 torn line\n"])
      }).pipe(Effect.scoped, services),
    60_000
  )

  it.live(
    "begins another file before one is too long, keeps five, and the checker reads them in their order",
    () =>
      Effect.gen(function*() {
        const at = yield* folder
        const file = Path.join(at, "audit.log")
        const server = yield* serve("--audit", file, "--audit-size", "20000")
        const locker = yield* server.locker("name".repeat(20), "me")
        // Some at a time: each batch is written by itself.
        for (let i = 0; i < 30; i++) {
          for (let n = 0; n < 20; n++) yield* Effect.andThen(locker.lock, locker.unlock)
          yield* says(file, (lines) => lines.at(-1)?.Number === String((i + 1) * 40))
        }
        yield* server.process.signal("SIGTERM")
        yield* server.process.ended
        const files = fs.readdirSync(at).toSorted()
        assert.deepStrictEqual(files, ["audit.log", ...[1, 2, 3, 4, 5].map((n) => `audit.log.${n}`)])
        for (const one of files) assert.isAtMost(fs.statSync(Path.join(at, one)).size, 20_000)
        const checked = yield* audited(...files.map((one) => Path.join(at, one)))
        assert.strictEqual(checked.status, 0, checked.stdout)
        assert.match(checked.stdout, /^6 files, \d+ events: no violations\n$/)
        // The other way round they would not fit together.
        const parts = ["audit.log", "audit.log.1"].map((one) => fs.readFileSync(Path.join(at, one)))
        fs.writeFileSync(Path.join(at, "wrong"), Buffer.concat(parts))
        assert.strictEqual((yield* audited(Path.join(at, "wrong"))).status, 72)
      }).pipe(Effect.scoped, services),
    60_000
  )

  it.live("begins anew where the file was moved or removed, and at SIGHUP", () =>
    Effect.gen(function*() {
      const file = Path.join(yield* folder, "audit.log")
      const server = yield* serve("--audit", file)
      const locker = yield* server.locker("a", "me")
      yield* locker.lock
      yield* says(file, has("Taken a"))
      fs.renameSync(file, `${file}.old`)
      yield* server.process.signal("SIGHUP")
      yield* server.process.complains(/SIGHUP: opened the audit file anew/)
      yield* locker.unlock
      yield* says(file, has("Released a"))
      assert.deepStrictEqual(eventsIn(linesOf(file)), ["Released a"])
      fs.rmSync(file)
      yield* Effect.andThen(locker.lock, locker.unlock).pipe(
        Effect.repeat({ schedule: Schedule.spaced("100 millis"), while: () => !fs.existsSync(file) })
      )
      yield* says(file, (lines) => eventsIn(lines).length > 0)
    }).pipe(Effect.scoped, services), 60_000)

  it.live(
    "holds up no lock while the disk is full, and says what was dropped once there is room",
    () =>
      Effect.gen(function*() {
        // Room for all that is kept, once there is room: else it stays full, however long it is tried.
        const disk = yield* smallDisk("8m")
        if (disk === undefined) return yield* Effect.log("skipped: no small disk is allowed here")
        const file = Path.join(disk, "audit.log")
        const server = yield* serve("--audit", file)
        const locker = yield* server.locker("name".repeat(100), "me")
        const pair = Effect.andThen(locker.lock, locker.unlock)
        yield* pair
        yield* says(file, (lines) => lines.length === 3)
        const { fill, free } = fillDisk(disk)
        yield* fill
        yield* Effect.repeat(pair, {
          schedule: Schedule.spaced("1 millis"),
          while: () => true
        }).pipe(Effect.raceFirst(server.process.complains(/audit file .* cannot be written \(ENOSPC\)/)))
        // More than are kept: the locks go on.
        yield* Effect.forEach(
          Array.from({ length: 40 }, (_, i) => server.locker(`n${i}`, "me")),
          (locker) =>
            Effect.flatMap(locker, ({ lock, unlock }) => Effect.repeat(Effect.andThen(lock, unlock), { times: 800 })),
          { concurrency: "unbounded", discard: true }
        )
        yield* free
        yield* server.process.complains(/audit file .* is written again/).pipe(
          Effect.raceFirst(Effect.repeat(pair, { schedule: Schedule.spaced("50 millis") }))
        )
        yield* server.process.signal("SIGTERM")
        assert.strictEqual((yield* server.process.ended).status, 0)
        const lines = linesOf(file)
        const dropped = lines.find(({ Audit }) => Audit === "Dropped")
        assert.isDefined(dropped)
        const { status, stdout } = yield* audited(file)
        assert.strictEqual(status, 0, stdout)
        assert.include(stdout, `${dropped!.Count} events missing`)
      }).pipe(Effect.scoped, services),
    120_000
  )

  it.live("is refused by one line where the file cannot be written", () =>
    Effect.gen(function*() {
      const at = yield* folder
      for (const file of [Path.join(at, "missing", "audit.log"), at]) {
        const { status, stderr, stdout } = yield* dlm(["serve", "--port", "0", "--audit", file])
        assert.deepStrictEqual([status, stdout, stderr.trim().split("\n").length], [71, "", 1])
        assert.match(
          stderr,
          /^dlm: the audit file ".*" cannot be written \((ENOENT|EISDIR)\)\. Choose another with --audit\n$/
        )
      }
      const { status } = yield* dlm(["serve", "--history", "-1"])
      assert.strictEqual(status, 64)
    }).pipe(Effect.scoped, services), 60_000)

  it.live("is written by each worker to a file of its own", () =>
    Effect.gen(function*() {
      const at = yield* folder
      const process = yield* startDlm([
        "serve",
        "--port=0",
        "--workers=2",
        `--store=sqlite:${Path.join(at, "locks.db")}`,
        `--audit=${Path.join(at, "audit.log")}`
      ])
      yield* process.prints(/serves by 2 workers/)
      for (const worker of [1, 2]) {
        yield* says(Path.join(at, `audit.log.worker-${worker}`), ([first]) => first?.Audit === "Began")
      }
      yield* process.signal("SIGTERM")
      yield* process.ended
    }).pipe(Effect.scoped, services), 60_000)
})

describe("dlm audit", () => {
  const began = { Audit: "Began", At: "1", Process: "p", Alone: "true" }
  const event = (Number: number, Event: string, Fence: number) => ({
    Number: String(Number),
    At: "1",
    Event,
    FileName: "f",
    Fence: String(Fence)
  })
  const written = (at: string, lines: ReadonlyArray<object | string>) => {
    const file = Path.join(at, "audit.log")
    fs.writeFileSync(file, lines.map((line) => `${typeof line === "string" ? line : JSON.stringify(line)}\n`).join(""))
    return file
  }

  it.live(
    "ends with 72 where two have held a name at once, a fence has fallen, or what ended had not begun",
    () =>
      Effect.gen(function*() {
        const file = written(yield* folder, [
          began,
          event(1, "Taken", 5),
          event(2, "Taken", 6),
          event(3, "Released", 6),
          event(4, "Taken", 4),
          event(5, "Released", 4),
          event(6, "Expired", 3)
        ])
        const { status, stdout } = yield* audited(file)
        assert.strictEqual(status, 72)
        assert.deepStrictEqual(stdout.trim().split("\n"), [
          `${file}:3: "f" was taken (fence 6) while it was held: by fence 5 since line 2`,
          `${file}:5: "f" was taken with the fence 4, and with 6 before, in line 3`,
          `${file}:7: "f" (fence 3) was expired, and had not begun`,
          "1 file, 6 events: 3 violations"
        ])
        const json = (yield* audited(file, "--json")).stdout.trim().split("\n").map((line) => JSON.parse(line))
        assert.deepStrictEqual(json.map(({ kind, line }) => [kind, line]).slice(0, 3), [
          ["Overlap", 3],
          ["Fence", 5],
          ["Ending", 7]
        ])
        assert.deepStrictEqual(json.at(-1).violations, 3)
      }).pipe(Effect.scoped, services),
    60_000
  )

  it.live("ends with 65 where a line is none, and with 71 where a file cannot be read", () =>
    Effect.gen(function*() {
      const at = yield* folder
      const file = written(at, [began, "nonsense", event(1, "Taken", 5)])
      const { status, stdout } = yield* audited(file)
      assert.deepStrictEqual([status, stdout.split("\n")[0]], [65, `${file}:2: is no line of an audit file`])
      const missing = yield* audited(Path.join(at, "missing"))
      assert.deepStrictEqual([missing.status, missing.stderr.trim().split("\n").length], [71, 1])
      assert.strictEqual((yield* audited()).status, 64)
    }).pipe(Effect.scoped, services), 60_000)
})
