import { afterAll, assert, describe, it } from "@effect/vitest"
import { Cause, Clock, Config, ConfigProvider, Context, Effect, Exit, Fiber, Layer, Redacted, Scope } from "effect"
import { LockServer, Store, type StoreError } from "effect-dlm/server"
import { SqliteStore } from "effect-dlm/sqlite"
import { StoreContract } from "effect-dlm/testing"
import { TestClock } from "effect/testing"
import * as fs from "node:fs"
import * as os from "node:os"
import * as path from "node:path"
import { DatabaseSync } from "node:sqlite"
import { inspect } from "node:util"
import { admitted } from "../../src/testing/contract/holders.ts"
import { goesOn } from "../support/olderEntry.ts"
import { passTime } from "../support/passTime.ts"

const folder = fs.mkdtempSync(path.join(os.tmpdir(), "dlm-sqlite-"))
afterAll(() => fs.rmSync(folder, { recursive: true }))

let files = 0
const newFile = () => path.join(folder, `${files++}.db`)

const open = (file: string, options?: Partial<SqliteStore.Options>) =>
  Effect.map(
    Layer.build(Layer.fresh(SqliteStore.layer({ file, ...options }))),
    (context) => Context.get(context, Store.Store)
  )

type Instance = Store.Store["Service"]

const write = (store: Instance, name: string, owner = "o", ttlMillis = 600_000) =>
  store.modify(name, () => ({
    answer: undefined,
    change: { _tag: "Write", entry: { owner, identity: undefined, data: undefined }, ttlMillis }
  }))

const remove = (store: Instance, name: string) =>
  store.modify(name, () => ({ answer: undefined, change: { _tag: "Remove" } }))

const read = (store: Instance, name: string) =>
  Effect.map(store.modify(name, (found) => ({ answer: found, change: { _tag: "Keep" } })), ({ answer }) => answer)

/** Lets these in, one after another, and gives their fences. */
const letIn = (store: Instance, name: string, owners: ReadonlyArray<string>, limit: number) =>
  Effect.forEach(owners, (owner) =>
    Effect.map(
      store.modify(name, (found) => ({
        answer: undefined,
        change: {
          _tag: "Share",
          limit,
          holders: [...(found?.limit === undefined ? [] : found.holders), admitted(owner)],
          next: undefined
        }
      })),
      ({ fence }) => fence!
    ))

const ownerOf = (store: Instance, name: string) => Effect.map(read(store, name), (found) => found?.owner)

/** A connection of our own to a file. */
const connect = (file: string) =>
  Effect.acquireRelease(
    Effect.sync(() => new DatabaseSync(file)),
    (database) => Effect.sync(() => database.close())
  )

const namesIn = (database: DatabaseSync) =>
  database.prepare("SELECT name FROM entries ORDER BY name").all().map((row) => JSON.parse(String(row["name"])))

const failureOf = <A>(self: Effect.Effect<A, StoreError.StoreError, Scope.Scope>) => Effect.flip(Effect.scoped(self))

describe("a URL", () => {
  const holds = (layer: Layer.Layer<Store.Store, unknown>, name: string, owner?: string) =>
    Effect.gen(function*() {
      const store = Context.get(yield* Layer.build(Layer.fresh(layer)), Store.Store)
      if (owner !== undefined) yield* write(store, name, owner)
      return yield* ownerOf(store, name)
    }).pipe(Effect.scoped)

  it.effect("names the file, from the configuration too", () =>
    Effect.gen(function*() {
      const file = newFile()
      const byUrl = SqliteStore.layerUrl({ url: Redacted.make(`sqlite:${file}?synchronous=full`), timeout: "1 second" })
      assert.strictEqual(yield* holds(byUrl, "name", "me"), "me")
      assert.isTrue(fs.existsSync(file))
      const byConfig = SqliteStore.layerConfig({ url: Config.Redacted("LOCKS_URL") }).pipe(
        Layer.provide(ConfigProvider.layer(ConfigProvider.fromUnknown({ LOCKS_URL: `sqlite:${file}` })))
      )
      assert.strictEqual(yield* holds(byConfig, "name"), "me")
    }))

  it.effect("that is none is refused", () =>
    Effect.gen(function*() {
      const layer = SqliteStore.layerUrl({ url: Redacted.make(newFile()) })
      const error = yield* Effect.flip(Effect.scoped(Layer.build(layer)))
      assert.strictEqual(error._tag, "StoreUrlError")
    }))
})

describe("the laws", () => {
  const layer = SqliteStore.layer({ file: path.join(folder, "laws.db") })
  for (const { check, name } of StoreContract.laws(layer)) it.effect(name, () => passTime(check))
})

describe("a transaction", () => {
  it.effect("holds all that is asked in one turn, in the order of its coming", () =>
    Effect.gen(function*() {
      const file = newFile()
      const store = yield* open(file)
      const other = yield* connect(file)
      const seen: Array<unknown> = []
      const ask = (name: string) =>
        store.modify(name, (): Store.Decision<undefined> => {
          seen.push([name, namesIn(other)])
          return {
            answer: undefined,
            change: { _tag: "Write", entry: { owner: "o", identity: undefined, data: undefined }, ttlMillis: 600_000 }
          }
        })
      // By then the store is at rest.
      yield* remove(store, "a")
      yield* Effect.yieldNow
      const outcomes = yield* Effect.all([ask("c"), ask("a"), ask("b")], { concurrency: "unbounded" })
      assert.deepStrictEqual(seen, [["c", []], ["a", []], ["b", []]])
      assert.deepStrictEqual(namesIn(other), ["a", "b", "c"])
      const [first, second, third] = outcomes.map(({ fence }) => fence!)
      assert.isTrue(first! < second! && second! < third!)
    }))

  it.effect("goes on where a decision throws, and only its own caller dies", () =>
    Effect.gen(function*() {
      const store = yield* open(newFile())
      const thrown = new Error("thrown by a decision")
      const exits = yield* Effect.all([
        Effect.exit(write(store, "before")),
        Effect.exit(store.modify("thrown", () => {
          throw thrown
        })),
        Effect.exit(write(store, "after"))
      ], { concurrency: "unbounded" })
      assert.deepStrictEqual(exits.map(Exit.isSuccess), [true, false, true])
      assert.strictEqual(Cause.squash((exits[1] as Exit.Failure<never, never>).cause), thrown)
      assert.strictEqual(yield* ownerOf(store, "before"), "o")
      assert.strictEqual(yield* ownerOf(store, "after"), "o")
    }))

  for (const [how, what] of [["ABORT", "may go on"], ["ROLLBACK", "is over"]] as const) {
    it.effect(`is made without the one that cannot be written, after which a transaction ${what}`, () =>
      Effect.gen(function*() {
        const file = newFile()
        const store = yield* open(file)
        const { fence } = yield* write(store, "held")
        const other = yield* connect(file)
        // In place of a disk that is full.
        other.exec(
          `CREATE TRIGGER full BEFORE INSERT ON entries WHEN NEW.name = '"bad"' BEGIN SELECT RAISE(${how}, 'full'); END`
        )
        const [good, freed, bad] = yield* Effect.all(
          [write(store, "good"), remove(store, "held"), write(store, "bad")].map(Effect.result),
          { concurrency: "unbounded" }
        )
        assert.deepStrictEqual([good, freed].map((result) => result!._tag), ["Success", "Success"])
        assert(bad?._tag === "Failure")
        assert.deepStrictEqual([bad.failure.name, bad.failure.reason], ["bad", "Failed"])
        assert.include(bad.failure.message, "full")
        assert.isUndefined(yield* ownerOf(store, "held"))
        assert.strictEqual(yield* ownerOf(store, "good"), "o")
        assert.isUndefined(yield* ownerOf(store, "bad"))
        other.exec("DROP TRIGGER full")
        const after = yield* write(store, "bad")
        assert.isTrue(after.fence! > fence!)
      }))
  }

  it.effect("leaves out what was withdrawn before it began", () =>
    Effect.gen(function*() {
      const file = newFile()
      const store = yield* open(file)
      const other = yield* connect(file)
      other.exec("BEGIN EXCLUSIVE")
      const withdrawn = yield* Effect.forkChild(write(store, "withdrawn"), { startImmediately: true })
      const kept = yield* Effect.forkChild(write(store, "kept"), { startImmediately: true })
      yield* Fiber.interrupt(withdrawn)
      other.exec("COMMIT")
      yield* Fiber.join(kept)
      assert.deepStrictEqual(namesIn(other), ["kept"])
    }))
})

describe("a file that others use too", () => {
  it.effect("shows what another instance has written and removed, at once", () =>
    Effect.gen(function*() {
      const file = newFile()
      const one = yield* open(file)
      const two = yield* open(file)
      let last = 0n
      for (let i = 0; i < 5; i++) {
        assert.isUndefined(yield* ownerOf(two, "f"))
        for (const [store, owner] of [[one, "one"], [two, "two"], [one, "three"]] as const) {
          const { revision } = yield* write(store, "f", owner)
          assert.isTrue(revision! > last)
          last = revision!
          assert.strictEqual(yield* ownerOf(one, "f"), owner)
          assert.strictEqual(yield* ownerOf(two, "f"), owner)
        }
        yield* remove(one, "f")
      }
    }))

  it.effect("times out while another writes, without holding up others, and goes on after that", () =>
    Effect.gen(function*() {
      const file = newFile()
      const store = yield* open(file, { timeout: "100 millis" })
      const other = yield* connect(file)
      other.exec("BEGIN EXCLUSIVE")
      const errors = yield* passTime(
        Effect.all([Effect.flip(write(store, "a")), Effect.flip(read(store, "b"))], { concurrency: "unbounded" })
      )
      assert.deepStrictEqual(errors.map(({ name, reason, store }) => [name, reason, store]), [
        ["a", "Timeout", "sqlite"],
        ["b", "Timeout", "sqlite"]
      ])
      const opening = yield* passTime(failureOf(open(file, { timeout: "100 millis" })))
      assert.deepStrictEqual([opening.name, opening.reason], [undefined, "Timeout"])
      other.exec("COMMIT")
      yield* passTime(write(store, "c"))
      assert.deepStrictEqual(namesIn(other), ["c"])
    }))
})

describe("time", () => {
  /** A machine: its wall clock, and the monotonic one since it was booted, in milliseconds. Nothing waits by it. */
  const machine = () => {
    const at = { wall: 1_700_000_000_000, monotonic: 5_000_000 }
    const nanos = (millis: number) => BigInt(Math.round(millis * 1_000_000))
    const clock: Clock.Clock = {
      currentTimeMillisUnsafe: () => at.wall,
      currentTimeMillis: Effect.sync(() => at.wall),
      currentTimeNanosUnsafe: () => nanos(at.wall),
      currentTimeNanos: Effect.sync(() => nanos(at.wall)),
      monotonicTimeNanosUnsafe: () => nanos(at.monotonic),
      monotonicTimeNanos: Effect.sync(() => nanos(at.monotonic)),
      sleep: () => Effect.never
    }
    return {
      at,
      pass: (millis: number) => {
        at.wall += millis
        at.monotonic += millis
      },
      /** Runs with a store that is open for so long. */
      use: <A>(file: string, body: (store: Instance) => Effect.Effect<A, StoreError.StoreError>) =>
        Effect.scoped(Effect.flatMap(open(file), body)).pipe(Effect.provideService(Clock.Clock, clock))
    }
  }
  const hour = 3_600_000

  for (const step of [hour, -hour]) {
    it.effect(`is not moved by a step of the wall clock of ${step} ms, nor by a restart`, () =>
      Effect.gen(function*() {
        const file = newFile()
        const { at, pass, use } = machine()
        yield* use(file, (store) =>
          Effect.gen(function*() {
            yield* write(store, "f", "o", 1000)
            at.wall += step
            pass(400)
            assert.strictEqual(yield* ownerOf(store, "f"), "o")
          }))
        at.wall += step
        pass(599)
        yield* use(file, (store) =>
          Effect.gen(function*() {
            assert.strictEqual(yield* ownerOf(store, "f"), "o")
            pass(2)
            assert.isUndefined(yield* ownerOf(store, "f"))
          }))
      }))

    it.effect(`goes on after a boot from the last time written, with the wall clock set by ${step} ms`, () =>
      Effect.gen(function*() {
        const file = newFile()
        const { at, pass, use } = machine()
        const before = yield* use(file, (store) => write(store, "f", "o", 1000))
        at.monotonic = 10
        at.wall += step
        yield* use(file, (store) =>
          Effect.gen(function*() {
            assert.strictEqual(yield* ownerOf(store, "f"), "o")
            const other = yield* write(store, "other")
            assert.isTrue(other.fence! > before.fence!)
            pass(999)
            assert.strictEqual(yield* ownerOf(store, "f"), "o")
            pass(2)
            assert.isUndefined(yield* ownerOf(store, "f"))
          }))
      }))
  }

  it.effect("goes on on another machine that has been up for longer", () =>
    Effect.gen(function*() {
      const file = newFile()
      const { pass, use } = machine()
      yield* use(file, (store) => write(store, "f", "o", 1000))
      const database = new DatabaseSync(file)
      database.exec("UPDATE state SET boot = 'of another machine'")
      database.close()
      pass(hour)
      yield* use(file, (store) =>
        Effect.gen(function*() {
          assert.strictEqual(yield* ownerOf(store, "f"), "o")
          pass(1001)
          assert.isUndefined(yield* ownerOf(store, "f"))
        }))
    }))

  it.effect("never ends early, by no part of a millisecond", () =>
    Effect.gen(function*() {
      const { at, pass, use } = machine()
      at.monotonic += 0.9
      yield* use(newFile(), (store) =>
        Effect.gen(function*() {
          yield* write(store, "f", "o", 10.5)
          pass(10.4)
          assert.strictEqual(yield* ownerOf(store, "f"), "o")
          pass(2)
          assert.isUndefined(yield* ownerOf(store, "f"))
        }))
    }))

  it.effect("has fences rise also where the last commits were lost", () =>
    Effect.gen(function*() {
      const file = newFile()
      const { pass, use } = machine()
      yield* use(file, (store) => write(store, "f"))
      const copy = fs.readFileSync(file)
      const lost = yield* use(file, (store) => write(store, "g"))
      fs.writeFileSync(file, copy)
      pass(1)
      const next = yield* use(file, (store) => write(store, "g"))
      assert.isTrue(next.fence! > lost.fence!)
    }))
})

describe("a file that is taken from under a store", () => {
  const taken = (what: string, take: (file: string) => void) =>
    it.effect(`is used no more once it was ${what}`, () =>
      Effect.gen(function*() {
        const file = newFile()
        const store = yield* open(file)
        yield* write(store, "f")
        take(file)
        const error = yield* Effect.flip(write(store, "f"))
        assert.include(error.message, `${file} was replaced or removed`)
        assert.strictEqual((yield* Effect.flip(write(store, "f"))).message, error.message)
      }))

  taken("removed", (file) => fs.rmSync(file))
  taken("replaced", (file) => {
    fs.copyFileSync(file, `${file}.copy`)
    fs.renameSync(`${file}.copy`, file)
  })
})

describe("the sweep", () => {
  it.effect("removes what has expired, and nothing else, and keeps the time for what is there", () =>
    Effect.gen(function*() {
      const file = newFile()
      const store = yield* open(file)
      const other = yield* connect(file)
      const names = Array.from({ length: 2500 }, (_, i) => `${i}`)
      yield* Effect.forEach(names, (name) => write(store, name, "o", 1000), { concurrency: "unbounded", discard: true })
      yield* write(store, "lives")
      assert.strictEqual(namesIn(other).length, 2501)
      const timeIn = () => Number(other.prepare("SELECT time FROM state").get()!["time"])
      const before = timeIn()
      yield* TestClock.adjust("10 seconds")
      // Behind the sweep, which has the turns of the event loop that it needs.
      while (namesIn(other).length > 1 || timeIn() < before + 10_000) yield* Effect.yieldNow
      assert.deepStrictEqual(namesIn(other), ["lives"])
      // And again from the beginning.
      yield* write(store, "a", "o", 1000)
      yield* TestClock.adjust("10 seconds")
      while (namesIn(other).length > 1) yield* Effect.yieldNow
    }))
})

describe("opening", () => {
  const fails = (what: string, make: (file: string) => void, words: ReadonlyArray<string>) =>
    it.effect(`fails ${what}, and says so`, () =>
      Effect.gen(function*() {
        const file = newFile()
        make(file)
        const before = fs.existsSync(file) ? fs.readFileSync(file) : undefined
        const error = yield* failureOf(open(file))
        assert.deepStrictEqual([error._tag, error.reason, error.name], ["StoreError", "Failed", undefined])
        for (const word of [file, ...words]) assert.include(error.message, word)
        // It is somebody's.
        assert.deepStrictEqual(fs.existsSync(file) ? fs.readFileSync(file) : undefined, before)
      }))

  const withDatabase = (sql: string) => (file: string) => {
    const database = new DatabaseSync(file)
    database.exec(sql)
    database.close()
  }

  fails("on what is no database", (file) => fs.writeFileSync(file, "no database ".repeat(1000)), [
    "not a SQLite database"
  ])
  fails("on a damaged file", (file) => {
    withDatabase("CREATE TABLE t (x); PRAGMA user_version = 1")(file)
    fs.writeFileSync(file, fs.readFileSync(file).fill(0xaa, 100, 4096))
  }, ["damaged"])
  fails("on another program's database", withDatabase("CREATE TABLE users (name)"), ["another program"])

  it.effect("fails on a folder", () =>
    Effect.gen(function*() {
      const error = yield* failureOf(open(folder))
      assert.include(error.message, `${folder} is a folder`)
    }))

  it.effect("fails in a folder that is not there", () =>
    Effect.gen(function*() {
      const file = path.join(folder, "nowhere", "locks.db")
      const error = yield* failureOf(open(file))
      assert.include(error.message, file)
      assert.include(error.message, "no such file or directory")
    }))

  it.effect("fails on a file of a later version, and leaves it as it was", () =>
    Effect.gen(function*() {
      const file = newFile()
      yield* Effect.scoped(open(file))
      withDatabase("PRAGMA user_version = 2")(file)
      const error = yield* failureOf(open(file))
      assert.include(error.message, "newer effect-dlm")
    }))

  it.effect("goes on with what a version without labels wrote", () =>
    Effect.gen(function*() {
      const file = newFile()
      const { fence } = yield* Effect.scoped(Effect.flatMap(open(file), (store) => write(store, "f", "me")))
      withDatabase("UPDATE entries SET entry = '{\"owner\":\"me\"}'")(file)
      const store = yield* open(file)
      yield* goesOn(store, "f", fence!)
      yield* remove(store, "f")
      const [next] = yield* letIn(store, "f", ["a", "b"], 3)
      assert.isTrue(next! > fence!)
    }))

  it.effect("goes on with names whose holders are there, and finds those of an earlier run", () =>
    Effect.gen(function*() {
      const file = newFile()
      const before = yield* Effect.scoped(Effect.flatMap(open(file), (store) => letIn(store, "f", ["a", "b"], 3)))
      const store = yield* open(file)
      const found = yield* read(store, "f")
      assert.deepStrictEqual(found?.limit !== undefined && found.holders.map(({ fence, owner }) => [owner, fence]), [
        ["a", before[0]!],
        ["b", before[1]!]
      ])
      const [c] = yield* letIn(store, "f", ["c"], 3)
      assert.isTrue(c! > before[1]!)
    }))

  it.effect("leaves a name with holders taken for a version that knows none", () =>
    Effect.gen(function*() {
      const file = newFile()
      yield* Effect.scoped(Effect.flatMap(open(file), (store) => letIn(store, "f", ["me", "other"], 3)))
      const database = yield* connect(file)
      assert.strictEqual(database.prepare("PRAGMA user_version").get()!["user_version"], 1)
      // So that version reads a row, and decides what it is asked.
      const { entry, expires_at } = database.prepare("SELECT entry, expires_at FROM entries").get()!
      const { data, identity, owner } = JSON.parse(String(entry))
      assert.isAtLeast(Number(expires_at), 600_000)
      for (const Action of ["Lock", "Unlock", "TestLock", "Put", "Get", "Erase"] as const) {
        for (const Fence of [undefined, "1", "7"]) {
          for (const Expire of [30, 0]) {
            const request = { ID: "me", FileName: "f", Action, Expire, DataStore: "x" }
            const { answer, change } = LockServer.transition(
              { owner, identity, data },
              Fence === undefined ? request : { ...request, Fence },
              undefined,
              7n
            )
            assert.deepStrictEqual([answer.Status, change._tag], ["NotOwner", "Keep"], `${Action} ${Fence}`)
          }
        }
      }
    }))

  it.effect("goes on where the holders of one name cannot be read, and fails for that name only", () =>
    Effect.gen(function*() {
      const file = newFile()
      yield* Effect.scoped(Effect.flatMap(open(file), (store) => letIn(store, "bad", ["a secret"], 3)))
      const rows = [
        "{\"owner\":\"\",\"identity\":\"\\u0000\",\"data\":\"a secret\"}",
        "{\"owner\":\"\",\"identity\":\"\\u0000\",\"data\":\"{\\\"limit\\\":1,\\\"holders\\\":[],\\\"secret\\\":1}\"}",
        "a secret"
      ]
      for (const row of rows) {
        const database = new DatabaseSync(file)
        database.prepare("UPDATE entries SET entry = ? WHERE name = '\"bad\"'").run(row)
        database.close()
        const store = yield* open(file)
        const exits = yield* Effect.all([
          Effect.exit(write(store, "before")),
          Effect.exit(write(store, "bad")),
          Effect.exit(write(store, "after"))
        ], { concurrency: "unbounded" })
        assert.deepStrictEqual(exits.map(Exit.isSuccess), [true, false, true])
        const error = yield* Effect.flip(write(store, "bad"))
        assert.deepStrictEqual([error._tag, error.reason, error.name], ["StoreError", "Failed", "bad"])
        assert.include(error.message, "damaged")
        assert.notInclude(inspect(error.cause, { depth: 9 }), "secret")
        assert.strictEqual(yield* ownerOf(store, "before"), "o")
      }
    }))

  it.effect("makes files that only their owner can read", () =>
    Effect.gen(function*() {
      const file = newFile()
      yield* write(yield* open(file), "f")
      for (const part of [file, `${file}-wal`, `${file}-shm`]) {
        assert.strictEqual(fs.statSync(part).mode & 0o777, 0o600, part)
      }
    }))
})

describe("closing", () => {
  it.effect("keeps what was written, in one file, and fails what comes after", () =>
    Effect.gen(function*() {
      const file = newFile()
      const scope = yield* Scope.make()
      const store = yield* Scope.provide(open(file), scope)
      yield* write(store, "f")
      yield* Scope.close(scope, Exit.void)
      assert.isFalse(fs.existsSync(`${file}-wal`))
      const error = yield* Effect.flip(write(store, "g"))
      assert.include(error.message, "closed")
      assert.strictEqual(yield* ownerOf(yield* open(file), "f"), "o")
    }))
})
