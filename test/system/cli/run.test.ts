import * as NodeServices from "@effect/platform-node/NodeServices"
import { assert, layer } from "@effect/vitest"
import { Effect, FileSystem, Layer } from "effect"
import { assertFails, assertPrints, closedPort, dlm, folder, relay, serve, Server } from "./processes.ts"

/** Asserts that nobody holds the lock. */
const assertFree = Effect.fnUntraced(function*(name: string) {
  const { locker } = yield* Server
  const { holder } = yield* locker(name, "somebody")
  assert.strictEqual(yield* holder, "Nobody")
})

// Of a machine that is busy: nothing here waits for as long.
const timeout = 120_000

const sh = (script: string, ...args: ReadonlyArray<string>) => ["--", "sh", "-c", script, "sh", ...args]

/** A server, and a file that commands write to. */
const withLog = Effect.gen(function*() {
  const fs = yield* FileSystem.FileSystem
  const log = `${yield* folder}/log`
  return { server: yield* Server, log, logged: fs.readFileString(log) }
})

layer(Layer.mergeAll(Server.layer, NodeServices.layer), {
  excludeTestServices: true,
  concurrent: true
})("dlm run", (it) => {
  it.effect("lets one command run at a time", () =>
    Effect.gen(function*() {
      const { log, logged, server } = yield* withLog
      const starter = yield* server.locker("turns", "starter")
      yield* starter.lock
      // Each has asked before the lock is free, so all four are there to take it.
      const runs = yield* Effect.forEach([1, 2, 3, 4], () =>
        Effect.gen(function*() {
          const { asked, port } = yield* relay(server.port)
          const run = yield* server.start([
            "run",
            "turns",
            ...sh("echo begin $$ >> \"$1\"; sleep 0.2; echo end $$ >> \"$1\"", log)
          ], { env: { DLM_PORT: port } })
          yield* asked
          return run
        }), { concurrency: "unbounded" })
      yield* starter.unlock
      for (const { ended } of runs) assertPrints(yield* ended, "")

      const lines = (yield* logged).trimEnd().split("\n")
      assert.strictEqual(lines.length, 8)
      for (let i = 0; i < lines.length; i += 2) {
        assert.match(lines[i]!, /^begin /)
        assert.strictEqual(lines[i + 1], lines[i]!.replace("begin", "end"))
      }
      yield* assertFree("turns")
    }), timeout)

  it.effect("ends as its command ended", () =>
    Effect.gen(function*() {
      const server = yield* Server
      const endings: ReadonlyArray<readonly [string, number]> = [["exit 0", 0], ["exit 7", 7], ["exit 255", 255], [
        "kill -KILL $$",
        137
      ], ["kill -TERM $$", 143]]
      yield* Effect.forEach(
        endings,
        Effect.fnUntraced(function*([script, expected]) {
          const { signal, status, stderr, stdout } = yield* server.dlm(["run", `it: ${script}`, ...sh(script)])
          assert.deepStrictEqual([script, status, signal, stdout, stderr], [script, expected, null, "", ""])
          yield* assertFree(`it: ${script}`)
        }),
        { concurrency: 2 }
      )
    }), timeout)

  // A third of that would be the next renewal.
  it.effect("ends with its command, however long the time to live", () =>
    Effect.gen(function*() {
      const server = yield* Server
      assertPrints(yield* server.dlm(["run", "long", "--ttl", "59m", "--", "echo", "done"]), "done\n")
      yield* assertFree("long")
    }), timeout)

  it.effect("passes input and output through, byte by byte", () =>
    Effect.gen(function*() {
      const server = yield* Server
      const bytes = Uint8Array.from({ length: 70_000 }, (_, i) => i * 7)
      const ended = yield* server.dlm(["run", "pipes", ...sh("cat; echo oops >&2")], { stdin: bytes })
      assert.isTrue(Buffer.from(bytes).equals(ended.stdoutBytes))
      assert.strictEqual(ended.stderr, "oops\n")
      assert.strictEqual(ended.status, 0)
    }), timeout)

  it.effect("leaves the arguments of the command alone", () =>
    Effect.gen(function*() {
      const server = yield* Server
      const args = ["a b", "--ttl", "-x", "--", "--help", "", "*", "$HOME", "it's", "\"", "ü\n"]
      const ended = yield* server.dlm([
        "run",
        "--ttl",
        "5s",
        "arguments",
        "--wait",
        "10s",
        "--",
        process.execPath,
        "-e",
        "console.log(JSON.stringify(process.argv.slice(1)))",
        "--",
        ...args
      ])
      assertPrints(ended, JSON.stringify(args) + "\n")
    }), timeout)

  it.effect("passes signals on, and the command decides", () =>
    Effect.gen(function*() {
      const server = yield* Server
      yield* Effect.forEach(
        ["TERM", "INT", "HUP", "USR1"] as const,
        Effect.fnUntraced(function*(name) {
          const run = yield* server.start([
            "run",
            `on ${name}`,
            ...sh("sleep 60 & trap 'echo got $1; kill $!; wait; exit 42' $1; echo pid $$; wait", name)
          ])
          yield* run.prints(/^pid \d+\n/)
          yield* run.signal(`SIG${name}`)
          const { signal, status, stdout } = yield* run.ended
          assert.deepStrictEqual([name, status, signal], [name, 42, null])
          assert.match(stdout, new RegExp(`^pid \\d+\\ngot ${name}\\n$`))
          yield* assertFree(`on ${name}`)
        }),
        { concurrency: 2 }
      )
    }), timeout)

  it.effect("passes signals on to what the command has started, too", () =>
    Effect.gen(function*() {
      const server = yield* Server
      const run = yield* server.start([
        "run",
        "group",
        ...sh(
          "sh -c \"sleep 60 & trap 'echo child; wait; exit' TERM; echo ready; wait\" & " +
            "trap 'echo parent; wait; exit 0' TERM; echo pid $$; wait"
        )
      ])
      yield* run.prints(/^pid \d+\n/m)
      yield* run.prints(/^ready\n/m)
      yield* run.signal("SIGTERM")
      const { status, stdout } = yield* run.ended
      assert.strictEqual(status, 0)
      assert.include(stdout, "parent\n")
      assert.include(stdout, "child\n")
    }), timeout)

  it.effect("does not pause with the terminal, since it could not renew then", () =>
    Effect.gen(function*() {
      const server = yield* Server
      const run = yield* server.start([
        "run",
        "pause",
        ...sh("sleep 60 & trap 'echo still; wait; exit 42' USR2; echo pid $$; wait")
      ])
      yield* run.prints(/^pid \d+\n/)
      yield* run.signal("SIGTSTP")
      yield* run.signal("SIGUSR2")
      assert.strictEqual((yield* run.ended).status, 42)
    }), timeout)

  it.effect("stops what its command leaves behind before it gives the lock back", () =>
    Effect.gen(function*() {
      const { log, logged, server } = yield* withLog
      const first = yield* server.start([
        "run",
        "leftover",
        "--ttl",
        "2s",
        ...sh(
          "(trap '' TERM; while :; do echo left >> \"$1\"; sleep 0.02; done) & " +
            "while ! [ -e \"$1\" ]; do sleep 0.02; done; echo pid $$; exit 7",
          log
        )
      ])
      yield* first.prints(/^pid \d+\n/)
      assertPrints(yield* server.dlm(["run", "leftover", ...sh("echo second >> \"$1\"", log)]), "")
      assert.strictEqual((yield* first.ended).status, 7)
      assert.match(yield* logged, /^(left\n)+second\n$/)
    }), timeout)

  it.effect("ends with 75 where another holds the lock for all of --wait", () =>
    Effect.gen(function*() {
      const server = yield* Server
      const another = yield* server.locker("held", "another")
      assertPrints(yield* server.dlm(["lock", "held", "--id", "another", "--ttl", "10m", "--label", "ada"]), "locked\n")
      for (const wait of ["0", "200ms"]) {
        assertFails(
          yield* server.dlm(["run", "held", "--wait", wait, ...sh("echo ran")]),
          75,
          /"held" was not free within \S+: held by "ada" since 20\S+Z, ends in [\dms ]+ unless it is renewed\. Wait longer/
        )
      }
      yield* another.unlock
      yield* assertFree("held")
    }), timeout)

  for (const [signal, status] of [["SIGTERM", 143], ["SIGINT", 130], ["SIGHUP", 129]] as const) {
    it.effect(`can be told to stop while it waits: ${signal}`, () =>
      Effect.gen(function*() {
        const server = yield* Server
        const name = `waiting ${signal}`
        const another = yield* server.locker(name, "another")
        yield* another.lock
        const { asked, port } = yield* relay(server.port)
        const run = yield* server.start(["run", name, ...sh("echo ran")], { env: { DLM_PORT: port } })
        yield* asked
        yield* run.signal(signal)
        const ended = yield* run.ended
        assert.deepStrictEqual(ended, { ...ended, status, signal: null, stdout: "", stderr: "" })
        yield* another.unlock
        yield* assertFree(name)
      }), timeout)
  }

  it.effect("ends with 69 where there is no server, and runs nothing", () =>
    Effect.gen(function*() {
      const port = String(yield* closedPort)
      assertFails(
        yield* dlm(["run", "x", "--port", port, ...sh("echo ran")]),
        69,
        /no lock server can be reached \(connect ECONNREFUSED 127\.0\.0\.1:\d+\)/
      )
      // What it waits for is a server too.
      assertFails(
        yield* dlm(["run", "x", "--port", port, "--wait", "300ms", ...sh("echo ran")]),
        69,
        /no lock server can be reached/
      )
    }), timeout)

  it.effect(
    "ends by why the lock cannot be had: with 77 where the server refuses, with 64 where an option is wrong",
    () =>
      Effect.gen(function*() {
        const server = yield* Server
        const run = (...flags: ReadonlyArray<string>) => server.dlm(["run", "x", ...flags, ...sh("echo ran")])
        assertFails(yield* run("--ttl", "2h"), 77, /refused \(BadPayload\).*time to live/)
        assertFails(yield* run("--label", "x".repeat(257)), 64, /label must have at most 256 bytes/)
        const long = yield* server.dlm(["run", "x".repeat(513), ...sh("echo ran")])
        assertFails(long, 64, /name must have at most 512 bytes/)
        assertPrints(yield* run("--label", "nightly on host 7"), "ran\n")
        yield* assertFree("x")
      }),
    timeout
  )

  it.effect("ends with 127 or 126 where there is no such command, or it cannot be run", () =>
    Effect.gen(function*() {
      const server = yield* Server
      const fs = yield* FileSystem.FileSystem
      const file = `${yield* folder}/file`
      yield* fs.writeFileString(file, "echo ran", { mode: 0o644 })
      assertFails(yield* server.dlm(["run", "none", "--", "no-such-command"]), 127, /no command "no-such-command"/)
      yield* assertFree("none")
      assertFails(yield* server.dlm(["run", "none", "--", file]), 126, /cannot be run.*executable/)
      yield* assertFree("none")
    }), timeout)

  it.effect("loses the lock when its server dies: the command and its children get TERM", () =>
    Effect.gen(function*() {
      const mortal = yield* serve()
      const run = yield* mortal.start([
        "run",
        "x",
        "--ttl",
        "2s",
        ...sh(
          `sh -c "sleep 60 & trap 'echo child got TERM; wait; exit' TERM; echo child; wait" & ` +
            "trap 'echo parent got TERM; wait; exit 0' TERM; echo pid $$; wait"
        )
      ])
      yield* run.prints(/^pid \d+\n/m)
      yield* run.prints(/^child\n/m)
      yield* mortal.process.signal("SIGKILL")
      const { status, stderr, stdout } = yield* run.ended
      assert.strictEqual(status, 74, stderr)
      assert.match(stderr, /^dlm: the lock on "x" is lost: no renewal was confirmed [^\n]+ sh was stopped\n$/)
      assert.include(stdout, "parent got TERM\n")
      assert.include(stdout, "child got TERM\n")
    }), timeout)

  it.effect("loses the lock: a command that ignores TERM is gone before another has it", () =>
    Effect.gen(function*() {
      const { log, logged, server } = yield* withLog
      const { cut, port } = yield* relay(server.port)
      const first = yield* server.start([
        "run",
        "stubborn",
        "--ttl",
        "6s",
        ...sh("trap '' TERM; echo pid $$; while :; do echo first >> \"$1\"; sleep 0.02; done", log)
      ], { env: { DLM_PORT: port } })
      yield* first.prints(/^pid \d+\n/)
      const second = yield* server.start(["run", "stubborn", ...sh("echo second >> \"$1\"", log)])
      yield* cut
      assertPrints(yield* second.ended, "")
      assert.strictEqual((yield* first.ended).status, 74)
      assert.match(yield* logged, /^(first\n)+second\n$/)
      yield* assertFree("stubborn")
    }), timeout)

  it.effect("loses the lock even while it has been told to stop", () =>
    Effect.gen(function*() {
      const mortal = yield* serve()
      const run = yield* mortal.start([
        "run",
        "x",
        "--ttl",
        "2s",
        ...sh("trap 'echo got INT' INT; trap '' TERM; echo pid $$; while :; do sleep 0.02; done")
      ])
      yield* run.prints(/^pid \d+\n/)
      yield* run.signal("SIGINT")
      yield* run.prints(/^got INT\n/m)
      yield* mortal.process.signal("SIGKILL")
      const { status, stderr } = yield* run.ended
      assert.strictEqual(status, 74)
      assert.match(stderr, /^dlm: the lock on "x" is lost: [^\n]+\n$/)
    }), timeout)

  it.effect("loses the lock to another when the server comes back without memory", () =>
    Effect.gen(function*() {
      const before = yield* serve()
      const after = yield* Server
      const another = yield* after.locker("forgotten", "another")
      yield* another.lock
      // To the command it is one server, on one port.
      const { port, turn } = yield* relay(before.port)
      const run = yield* before.start([
        "run",
        "forgotten",
        "--ttl",
        "4s",
        ...sh("sleep 60 & trap 'echo got TERM; wait; exit 0' TERM; echo pid $$; wait")
      ], { env: { DLM_PORT: port } })
      yield* run.prints(/^pid \d+\n/)
      yield* turn(after.port)
      const { status, stderr, stdout } = yield* run.ended
      assert.strictEqual(status, 74, stderr)
      assert.match(stderr, /^dlm: the lock on "forgotten" is lost: the server no longer holds it for us[^\n]+\n$/)
      assert.include(stdout, "got TERM\n")
      assert.strictEqual(yield* another.holder, "Me")
      yield* another.unlock
    }), timeout)

  it.effect(
    "says so where the lock could not be given back, and ends as its command did",
    () =>
      Effect.gen(function*() {
        const mortal = yield* serve()
        const run = yield* mortal.dlm(["run", "x", ...sh("kill -KILL $1; exit 3", String(mortal.process.pid))])
        assertFails(
          run,
          3,
          /^dlm: The lock on "x" is not given back yet; that is tried again until it ends by itself\n/
        )
      }),
    timeout
  )

  it.effect("is killed: its command and what that has started get TERM at once", () =>
    Effect.gen(function*() {
      const server = yield* Server
      const run = yield* server.start([
        "run",
        "killed",
        ...sh(
          `sh -c "sleep 60 & trap 'echo child got TERM; wait; exit' TERM; echo child; wait" & ` +
            "trap 'echo parent got TERM; wait; exit 0' TERM; echo pid $$; wait"
        )
      ])
      yield* run.prints(/^pid \d+\n/m)
      yield* run.prints(/^child\n/m)
      yield* run.signal("SIGKILL")
      // Its output is open until the last of them has ended.
      const { signal, stdout } = yield* run.ended
      assert.strictEqual(signal, "SIGKILL")
      assert.include(stdout, "parent got TERM\n")
      assert.include(stdout, "child got TERM\n")
    }), timeout)

  it.effect("is killed: a command that ignores TERM is gone before another has the lock", () =>
    Effect.gen(function*() {
      const { log, logged, server } = yield* withLog
      const first = yield* server.start([
        "run",
        "killed, and stubborn",
        "--ttl",
        "6s",
        ...sh("trap '' TERM; echo pid $$; while :; do echo first >> \"$1\"; sleep 0.02; done", log)
      ])
      yield* first.prints(/^pid \d+\n/)
      const second = yield* server.start(["run", "killed, and stubborn", ...sh("echo second >> \"$1\"", log)])
      yield* first.signal("SIGKILL")
      assertPrints(yield* second.ended, "")
      assert.match(yield* logged, /^(first\n)+second\n$/)
    }), timeout)

  it.effect("gives its command the streams that it has, and no more", () =>
    Effect.gen(function*() {
      const server = yield* Server
      const open = "for fd in 3 4 5 6 7 8 9; do (: <&$fd) 2>/dev/null && echo $fd is open; (: >&$fd) 2>/dev/null && " +
        "echo $fd is open; done; true"
      assertPrints(yield* server.dlm(["run", "streams", ...sh(open)]), "")
    }), timeout)

  it.effect("says in one line what is wrong with its use", () =>
    Effect.gen(function*() {
      const uses: ReadonlyArray<readonly [ReadonlyArray<string>, RegExp]> = [
        [["run"], /Missing required argument: name\. See: dlm run --help/],
        [["run", "x"], /Missing required argument: command/],
        [["run", "x", "--"], /Missing required argument: command/],
        [["run", "", "--", "true"], /<name>.*at least one character/],
        [["run", "x", "ls", "-l"], /Unrecognized flag: -l/],
        [["run", "x", "--ttl", "0", "--", "true"], /ttl must be greater than zero/],
        [["run", "x", "--ttl", "soon", "--", "true"], /--ttl: "soon"\. Expected a duration such as 500ms/],
        [["run", "x", "--wait", "-1s", "--", "true"], /--wait/],
        [["run", "x", "--port", "0.5", "--", "true"], /--port/],
        [["run", "x", "--label", "", "--", "true"], /--label\. Expected at least one character/]
      ]
      yield* Effect.forEach(
        uses,
        ([args, why]) => Effect.map(dlm(args), (ended) => assertFails(ended, 64, why)),
        { concurrency: 2 }
      )
    }), timeout)
})
