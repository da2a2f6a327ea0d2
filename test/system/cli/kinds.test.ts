/**
 * What `dlm run` does with more than a mutex, and `dlm elect`: real processes on one server.
 */
import * as NodeServices from "@effect/platform-node/NodeServices"
import { assert, layer } from "@effect/vitest"
import { Effect, Layer } from "effect"
import * as fs from "node:fs"
import { assertFails, assertPrints, folder, relay, Server } from "./processes.ts"

// Of a machine that is busy.
const timeout = 180_000

const services = Layer.mergeAll(Server.layer, NodeServices.layer)
const live = { excludeTestServices: true, concurrent: true }

const sh = (script: string, ...args: ReadonlyArray<string>) => ["--", "sh", "-c", script, "sh", ...args]

/** Starts a command that says so, and ends once it is told to. */
const inside = Effect.fnUntraced(function*(args: ReadonlyArray<string>, port?: string) {
  const server = yield* Server
  const script = "sleep 120 & trap 'wait; exit 0' USR1; echo pid $$; wait"
  const run = yield* server.start([...args, ...sh(script)], port === undefined ? {} : { env: { DLM_PORT: port } })
  return { ...run, isIn: run.prints(/^pid \d+\n/), end: Effect.andThen(run.signal("SIGUSR1"), run.ended) }
})

/** The same behind a relay, and waits until it has asked for the lock. */
const asking = Effect.fnUntraced(function*(args: ReadonlyArray<string>) {
  const { asked, port } = yield* relay((yield* Server).port)
  const run = yield* inside(args, port)
  yield* asked
  return run
})

/** Waits until the lock of a name has ended by itself, and leaves it free. */
const isOver = Effect.fnUntraced(function*(name: string) {
  const locker = yield* (yield* Server).locker(name, "somebody")
  yield* Effect.scoped(locker.acquire({ wait: "1 minute" }))
})

layer(services, live)("dlm run", (it) => {
  it.effect("--shared runs beside others that do so, and never beside one without", () =>
    Effect.gen(function*() {
      const server = yield* Server
      const [one, other] = yield* Effect.all([
        inside(["run", "books", "--shared"]),
        inside(["run", "books", "--shared"])
      ])
      yield* Effect.all([one.isIn, other.isIn])
      const writing = ["run", "books", "--wait", "0", ...sh("echo wrote")]
      assertFails(
        yield* server.dlm(writing),
        75,
        /"books" was not free[^:]*: held by another since \S+, ends in [\dms ]+ unless it is renewed, and by 1 other\. Wait/
      )
      yield* one.end
      assertFails(
        yield* server.dlm(writing),
        75,
        /"books" was not free[^:]*: held by [^.]+\.\d+Z, ends in [\dms ]+ unless it is renewed\. Wait/
      )
      const writer = yield* asking(["run", "books"])
      // A reader that comes after a writer does not pass it.
      assertFails(
        yield* server.dlm(["run", "books", "--shared", "--wait", "0", ...sh("true")]),
        75,
        /"books" was not free/
      )
      yield* other.end
      yield* writer.isIn
      assertFails(
        yield* server.dlm(["run", "books", "--shared", "--wait", "0", ...sh("true")]),
        75,
        /"books" was not free/
      )
      assert.strictEqual((yield* writer.end).status, 0)
      assertPrints(yield* server.dlm(["run", "books", "--shared", ...sh("echo read")]), "read\n")
    }), timeout)

  it.effect(
    "--permits runs so many at a time, by their weights, and tells each its own fence",
    () =>
      Effect.gen(function*() {
        const server = yield* Server
        const three = ["run", "api", "--permits", "3"]
        const now = [...three, "--wait", "0"]
        const heavy = yield* inside([...three, "--weight", "2"])
        yield* heavy.isIn
        assertFails(yield* server.dlm([...now, "--weight", "2", ...sh("true")]), 75, /"api" was not free/)
        const fence = yield* server.dlm([...now, ...sh("echo $DLM_FENCE")])
        const light = yield* inside(three)
        yield* light.isIn
        assertFails(yield* server.dlm([...now, ...sh("true")]), 75, /"api" was not free/)
        yield* Effect.all([heavy.end, light.end])
        const later = yield* server.dlm([...now, "--weight", "3", ...sh("echo $DLM_FENCE")])
        assert.isAbove(Number(BigInt(later.stdout.trim()) - BigInt(fence.stdout.trim())), 0)
      }),
    timeout
  )

  it.effect("--permits and --shared hold every one of several names in that way", () =>
    Effect.gen(function*() {
      const server = yield* Server
      const both = yield* inside(["run", "p", "q", "--permits", "2"])
      yield* both.isIn
      for (const name of ["p", "q"]) {
        assertPrints(yield* server.dlm(["run", name, "--permits", "2", "--wait", "0", ...sh("echo in")]), "in\n")
        assertFails(yield* server.dlm(["run", name, "--wait", "0", ...sh("echo in")]), 75, /was not free/)
      }
      yield* both.end
    }), timeout)

  it.effect("flags that do not fit together are a wrong use", () =>
    Effect.gen(function*() {
      const server = yield* Server
      const uses: ReadonlyArray<readonly [ReadonlyArray<string>, RegExp]> = [
        [["a", "--shared", "--permits", "2"], /give one of them/],
        [["a", "--weight", "2"], /give both/],
        [["a", "--permits", "0"], /permits must be a whole number from 1/],
        [["a", "--permits", "2", "--weight", "3"], /from 1 to 2, and is 3/],
        [["a", "--once-per", "0"], /--once-per must be greater than zero, and finite/],
        [["a", "--once-per", "Infinity"], /--once-per must be greater than zero, and finite/],
        [["a", "--once-per", "soon"], /--once-per.*Expected a duration/],
        [["a", "b", "--once-per", "1m"], /one name/],
        [["a", "--shared", "--once-per", "1m"], /leave out --shared/]
      ]
      yield* Effect.forEach(
        uses,
        ([flags, why]) =>
          Effect.map(server.dlm(["run", ...flags, ...sh("echo ran")]), (ended) => assertFails(ended, 64, why)),
        { concurrency: 2 }
      )
    }), timeout)
})

layer(services, live)("dlm run --once-per", (it) => {
  const startedBefore =
    /^dlm: "[^"]+" was started(?: by "[^"]+")? at 20\S+Z, less than \S+ ago, so nothing is started now\n$/

  it.effect(
    "starts one of many that are due at once, and one again once that time is over",
    () =>
      Effect.gen(function*() {
        const server = yield* Server
        const once = (name: string, time: string) =>
          server.dlm(["run", name, "--once-per", time, "--label", "ada", ...sh("echo ran; exit $1", "7")])
        const all = yield* Effect.all(Array.from({ length: 4 }, () => once("tick", "5m")), { concurrency: "unbounded" })
        const [ran, ...others] = all.toSorted((a, b) => b.stdout.length - a.stdout.length)
        // That it failed does not count: it was started.
        assert.deepStrictEqual([ran!.status, ran!.stdout, ran!.stderr], [7, "ran\n", ""])
        for (const other of others) {
          assert.deepStrictEqual([other.status, other.stdout], [0, ""])
          assert.match(other.stderr, startedBefore)
          assert.include(other.stderr, "by \"ada\"")
        }
        // The name itself is free, for all who run it without.
        assertPrints(yield* server.dlm(["run", "tick", "--wait", "0", ...sh("echo by hand")]), "by hand\n")
        assert.strictEqual((yield* once("short", "1s")).stdout, "ran\n")
        yield* isOver("short#once")
        assert.strictEqual((yield* once("short", "1s")).stdout, "ran\n")
      }),
    timeout
  )

  it.effect(
    "waits for one that has run for longer than that time, whose lock is renewed meanwhile",
    () =>
      Effect.gen(function*() {
        const server = yield* Server
        // Within that time it is not waited for.
        const within = ["run", "within", "--once-per", "5m", "--wait", "0"]
        yield* (yield* inside(within)).isIn
        assert.match((yield* server.dlm([...within, ...sh("echo ran")])).stderr, startedBefore)

        const args = ["run", "long", "--once-per", "3s", "--ttl", "2s"]
        const first = yield* inside(args)
        yield* first.isIn
        yield* isOver("long#once")
        const second = yield* asking(args)
        assert.strictEqual(yield* (yield* server.locker("long", "somebody")).holder, "Another")
        yield* first.end
        yield* second.isIn
        yield* second.end
      }),
    timeout
  )

  it.effect(
    "counts as started where dlm is killed, and gives the turn back where nothing could be started",
    () =>
      Effect.gen(function*() {
        const server = yield* Server
        const once = ["run", "mortal", "--once-per", "5m", "--ttl", "2s"]
        const none = yield* server.dlm([...once, "--", "no-such-command"])
        assertFails(none, 127, /there is no command/)
        const first = yield* inside(once)
        yield* first.isIn
        yield* first.signal("SIGKILL")
        yield* first.ended
        const second = yield* server.dlm([...once, ...sh("echo ran")])
        assert.deepStrictEqual([second.status, second.stdout], [0, ""])
        assert.match(second.stderr, startedBefore)
      }),
    timeout
  )

  it.effect("says for how long a server keeps it without an identity", () =>
    Effect.gen(function*() {
      const ended = yield* (yield* Server).dlm(["run", "hourly", "--once-per", "1h", ...sh("echo ran")])
      assertFails(ended, 77, /^dlm: "hourly": the server does not keep for 1h [^\n]+ --once-per is at most 3543s\n$/)
    }), timeout)

  it.effect(
    "gives the turn back where it was told to end before it has started anything",
    () =>
      Effect.gen(function*() {
        const server = yield* Server
        const another = yield* server.locker("patient", "another")
        yield* another.lock
        const once = ["run", "patient", "--once-per", "5m"]
        const waiting = yield* asking(once)
        yield* waiting.signal("SIGTERM")
        assert.strictEqual((yield* waiting.ended).status, 143)
        yield* another.unlock
        assertPrints(yield* server.dlm([...once, ...sh("echo ran")]), "ran\n")
      }),
    timeout
  )
})

layer(services, live)("dlm elect", (it) => {
  it.effect(
    "runs one command at a time, the next one as soon as it has ended, and tells it of what it holds",
    () =>
      Effect.gen(function*() {
        const server = yield* Server
        const script =
          "sleep 120 & trap 'wait; exit 0' TERM; echo pid $$; echo \"$DLM_NAME/$DLM_FENCE/$DLM_PORT\"; wait"
        const { asked, port } = yield* relay(server.port)
        const first = yield* server.start(["elect", "one", "--label", "first", ...sh(script)])
        yield* first.prints(/^pid \d+\n/)
        const second = yield* server.start(["elect", "one", ...sh(script)], { env: { DLM_PORT: port } })
        yield* asked
        const [, fence] = yield* first.prints(new RegExp(`^one/(\\d+)/${server.port}\n`, "m"))
        assert.match((yield* server.dlm(["test", "one"])).stdout, /^held by "first" since [^\n]+\n1 waits for it\n$/)
        yield* first.signal("SIGTERM")
        const ended = yield* first.ended
        assert.deepStrictEqual([ended.status, ended.stderr], [0, ""])
        const [, next] = yield* second.prints(new RegExp(`^one/(\\d+)/${port}\n`, "m"))
        assert.isTrue(BigInt(next!) > BigInt(fence!))
        yield* second.signal("SIGTERM")
        assert.strictEqual((yield* second.ended).status, 0)
      }),
    timeout
  )

  it.effect(
    "is killed: another leads within its time to live and a second, and its own command has ended by then",
    () =>
      Effect.gen(function*() {
        const server = yield* Server
        const log = `${yield* folder}/log`
        const ttl = 3000
        const args = ["elect", "mortal leader", "--ttl", `${ttl}ms`]
        const stubborn = "trap '' TERM; echo pid $$; while :; do echo first >> \"$1\"; sleep 0.02; done"
        const first = yield* server.start([...args, ...sh(stubborn, log)])
        yield* first.prints(/^pid \d+\n/)
        const { asked, port } = yield* relay(server.port)
        const second = yield* server.start([...args, ...sh("echo second >> \"$1\"; echo leads", log)], {
          env: { DLM_PORT: port }
        })
        yield* asked
        const killedAt = performance.now()
        yield* first.signal("SIGKILL")
        yield* second.prints(/^leads\n/)
        const took = performance.now() - killedAt
        assertPrints(yield* second.ended, "leads\n")
        assert.match(fs.readFileSync(log, "utf8"), /^(first\n)+second\n$/)
        assert.isBelow(took, ttl + 1000)
      }),
    timeout
  )

  it.effect(
    "--again leaves the lead to others once its command has ended, and campaigns behind them",
    () =>
      Effect.gen(function*() {
        const server = yield* Server
        const log = `${yield* folder}/log`
        const leading = (who: string) =>
          server.start(["elect", "turns", "--again", ...sh("echo $1 >> \"$2\"; exit 1", who, log)])
        const both = yield* Effect.all([leading("a"), leading("b")])
        yield* Effect.repeat(Effect.sync(() => fs.existsSync(log) ? fs.readFileSync(log, "utf8") : ""), {
          until: (text) => /a[^]*b[^]*a[^]*b|b[^]*a[^]*b[^]*a/.test(text)
        })
        for (const one of both) {
          yield* one.signal("SIGTERM")
          const { status, stderr } = yield* one.ended
          // Between two of its commands, or with one.
          assert.include([1, 143], status)
          assert.strictEqual(stderr, "")
        }
      }),
    timeout
  )

  it.effect("has one name", () =>
    Effect.gen(function*() {
      const server = yield* Server
      assertFails(
        yield* server.dlm(["elect", "a", "b", ...sh("true")]),
        64,
        /An election has one name\. See: dlm elect --help/
      )
      assertFails(yield* server.dlm(["elect", "--", "true", "x"]), 64, /Missing required argument: name/)
      assertFails(yield* server.dlm(["elect", "a", "--"]), 64, /Missing required argument: command/)
    }), timeout)
})
