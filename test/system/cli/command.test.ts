/**
 * What scripts rely on: arguments, statuses, variables, and the process of the command.
 */
import * as NodeServices from "@effect/platform-node/NodeServices"
import { assert, layer } from "@effect/vitest"
import { Effect, FileSystem, Layer } from "effect"
import { spawnSync } from "node:child_process"
import {
  assertFails,
  assertPrints,
  bin,
  closedPort,
  dlm,
  folder,
  relay,
  script,
  serve,
  Server,
  startDlm
} from "./processes.ts"

// Of a machine that is busy.
const timeout = 180_000

const live = { excludeTestServices: true, concurrent: true } as const

const services = Layer.mergeAll(Server.layer, NodeServices.layer)

/** Whether a namespace of processes can be made here, as a container is. */
const hasNamespaces = process.platform === "linux" && spawnSync("unshare", ["-pf", "--mount-proc", "true"]).status === 0

// It leaves an orphan that has ended, and ends long after.
const leavesZombie = "(sleep 0.1 & echo $! > orphan); while kill -0 $(cat orphan) 2> /dev/null && " +
  "! grep -qs '^State:.Z' /proc/$(cat orphan)/status; do sleep 0.02; done"

layer(services, live)(
  `K1: dlm run and those that have ended${hasNamespaces ? "" : ": skipped, no namespaces are allowed here"}`,
  (it) => {
    const run = `"$@" run zombies -- sh -c`

    it.effect.skipIf(!hasNamespaces)("reaps as the first process", () =>
      Effect.gen(function*() {
        const server = yield* Server
        const at = yield* folder
        const reaped =
          `${leavesZombie}; for i in $(seq 200); do [ -e /proc/$(cat orphan) ] || exit 7; sleep 0.02; done; exit 8`
        const ended = yield* server.script(`exec unshare -pf --mount-proc ${run} '${reaped}'`, { cwd: at })
        assert.deepStrictEqual([ended.status, ended.stderr], [7, ""])
      }), timeout)

    it.effect.skipIf(!hasNamespaces)("passes signals on as the first process", () =>
      Effect.gen(function*() {
        const server = yield* Server
        const at = yield* folder
        // Of another namespace its number is not known here: the signal is sent from there.
        const trap = "sleep 60 & trap \"kill $!; wait; exit 42\" TERM; (sleep 0.1; kill -TERM 1) & wait"
        const ended = yield* server.script(`exec unshare -pf --mount-proc ${run} '${trap}'`, { cwd: at })
        assert.strictEqual(ended.status, 42, ended.stderr)
      }), timeout)

    it.effect.skipIf(!hasNamespaces)("does not wait for who is not reaped by its parent", () =>
      Effect.gen(function*() {
        const server = yield* Server
        const at = yield* folder
        // The first process is one that asks for nobody's status.
        const first = `{ ${run} '${leavesZombie}; date +%s%N; exit 3'; echo "status $?"; date +%s%N; } & exec sleep 600`
        const takes = Effect.gen(function*() {
          const running = yield* server.startScript(
            `exec unshare -pf --mount-proc --kill-child sh -c '${first.replaceAll("'", "'\\''")}' "$0" "$@"`,
            { cwd: at }
          )
          const [, before, after] = yield* running.prints(/^(\d+)\nstatus 3\n(\d+)\n/m)
          return Number(BigInt(after!) - BigInt(before!)) / 1e6
        })
        // The grace for those who live is five seconds, each time; a machine that is busy is so now and then.
        const quick = Effect.repeat(takes, { until: (millis) => millis < 3_000, times: 4 })
        assert.isBelow(yield* quick, 3_000)
      }), timeout)
  }
)

layer(services, live)("K2: what is not UTF-8", (it) => {
  const bytes = "$(printf '\\377')"

  it.effect("is refused as an argument, of each kind", () =>
    Effect.gen(function*() {
      const server = yield* Server
      const commands = [
        `lock a${bytes} --id me`,
        `put a ${bytes} --id me`,
        `run a -- echo ${bytes}`,
        `serve --store sqlite:${bytes}`
      ]
      yield* Effect.forEach(commands, (command) =>
        Effect.map(server.script(`"$@" ${command}`), (ended) =>
          assertFails(ended, 64, /the argument "[^"]*\ufffd" is not UTF-8 text/)), { concurrency: 2 })
    }), timeout)

  it.effect(
    "is refused in a variable of ours, and for run in each, since its command gets it",
    () =>
      Effect.gen(function*() {
        const server = yield* Server
        assertFails(yield* script(`export DLM_LABEL=${bytes}; "$@" test a`), 64, /the variable DLM_LABEL is not UTF-8/)
        assertFails(yield* server.script(`export OTHER=${bytes}; "$@" run a -- echo ran`), 64, /"OTHER" is not UTF-8/)
        assertPrints(yield* server.script(`export OTHER=${bytes}; "$@" test a`), "free\n")
      }),
    timeout
  )

  it.effect("is not what stands for it in UTF-8", () =>
    Effect.gen(function*() {
      const server = yield* Server
      assertPrints(
        yield* server.dlm(["run", "\ufffd", "--", "sh", "-c", "printf %s \"$DLM_NAME $OTHER\""], {
          env: { OTHER: "\ufffd" }
        }),
        "\ufffd \ufffd"
      )
    }), timeout)
})

layer(services, live)("the status of dlm run", (it) => {
  it.effect("K4: is 128 + n for each signal, also those without a name", () =>
    Effect.gen(function*() {
      const server = yield* Server
      yield* Effect.forEach(process.platform === "linux" ? [1, 9, 15, 34, 35, 50, 64] : [1, 9, 15], (signal) =>
        Effect.gen(function*() {
          const { status, stderr } = yield* server.dlm(["run", `by ${signal}`, "--", "sh", "-c", `kill -${signal} $$`])
          assert.deepStrictEqual([signal, status, stderr], [signal, 128 + signal, ""])
        }), { concurrency: 2 })
    }), timeout)

  it.effect("K5: tells a lock that is held from the command's own 75", () =>
    Effect.gen(function*() {
      const server = yield* Server
      yield* (yield* server.locker("held", "another")).lock
      const run = (name: string, status: string) =>
        server.dlm(["run", name, "--wait", "0", "--conflict-status", status, "--", "sh", "-c", "exit 75"])
      assertFails(yield* run("held", "9"), 9, /"held" was not free/)
      assertFails(yield* run("held", "0"), 0, /"held" was not free/)
      assert.strictEqual((yield* run("free", "9")).status, 75)
      assertFails(yield* run("free", "256"), 64, /--conflict-status/)
      // Only that: not where there is no server.
      const args = [
        "run",
        "x",
        "--wait",
        "0",
        "--conflict-status",
        "9",
        "--port",
        String(yield* closedPort),
        "--",
        "true"
      ]
      assertFails(yield* dlm(args), 69, /no lock server/)
    }), timeout)
})

layer(services, live)("the command of dlm run", (it) => {
  it.effect("K6: ignores SIGHUP with --nohup, and dlm does too, from the start", () =>
    Effect.gen(function*() {
      const server = yield* Server
      const another = yield* server.locker("nohup", "another")
      yield* another.lock
      const { asked, port } = yield* relay(server.port)
      const run = yield* server.start(
        ["run", "nohup", "--nohup", "--", "sh", "-c", "kill -HUP $$; sleep 60 & trap 'exit 5' TERM; echo pid $$; wait"],
        { env: { DLM_PORT: port } }
      )
      yield* asked
      yield* run.signal("SIGHUP")
      yield* another.unlock
      yield* run.prints(/^pid \d+\n/m)
      yield* run.signal("SIGHUP")
      yield* run.signal("SIGTERM")
      assert.strictEqual((yield* run.ended).status, 5)
    }), timeout)

  it.effect("K7: knows its names, their fences, and the server", () =>
    Effect.gen(function*() {
      const server = yield* Server
      const shown = "printf '%s|' \"$DLM_NAME\" \"$DLM_FENCE\" \"$DLM_HOST\" \"$DLM_PORT\" \"${DLM_TLS-none}\""
      const one = yield* server.dlm(["run", "one", "--", "sh", "-c", shown], {
        env: { DLM_NAME: "of another", DLM_FENCE: "1" }
      })
      assert.match(one.stdout, new RegExp(`^one\\|\\d{5,}\\|127\\.0\\.0\\.1\\|${server.port}\\|none\\|$`))
      const several = yield* server.dlm(["run", "z", "a", "--", "sh", "-c", shown])
      const [, later, earlier] = /^z\na\|(\d+)\n(\d+)\|/.exec(several.stdout) ?? []
      // They are told as they were given, and taken in the order of their names.
      assert.isTrue(BigInt(later!) > BigInt(earlier!), several.stdout)
      // Where a flag has named the server, `dlm` within finds it too.
      const nested = yield* dlm([
        "run",
        "outer",
        "--port",
        String(server.port),
        "--host",
        "127.0.0.1",
        "--",
        "sh",
        "-c",
        `"${process.execPath}" "$0" test outer`,
        bin
      ])
      assert.strictEqual(nested.status, 75, JSON.stringify(nested))
      assert.match(nested.stdout, /^held since /)
    }), timeout)

  it.effect("gets its variables as they are, whatever their names", () =>
    Effect.gen(function*() {
      const server = yield* Server
      const value = "a 'b' \"c\" $d `e` \\ \n"
      const shown = "process.stdout.write(JSON.stringify([process.env['a.b-c'], process.env['x%%']]))"
      assertPrints(
        yield* server.dlm(["run", "env", "--", process.execPath, "-e", shown], { env: { "a.b-c": value, "x%%": "" } }),
        JSON.stringify([value, ""])
      )
    }), timeout)

  it.effect("is no word of the shell", () =>
    Effect.gen(function*() {
      const server = yield* Server
      assertFails(yield* server.dlm(["run", "words", "--", "exit", "3"]), 127, /no command "exit"/)
      assertFails(yield* server.dlm(["run", "words", "--", ""]), 127, /no command ""/)
      const fs = yield* FileSystem.FileSystem
      const file = `${yield* folder}/script`
      yield* fs.writeFileString(file, "#!/no/such/shell\n", { mode: 0o755 })
      assertFails(yield* server.dlm(["run", "words", "--", file]), 126, /there is no \/no\/such\/shell/)
    }), timeout)
})

layer(services, live)("K8: what commands can be asked", (it) => {
  it.effect("dlm lock --wait waits, and holds it for its time to live", () =>
    Effect.gen(function*() {
      const server = yield* Server
      const another = yield* server.locker("waited", "another")
      yield* another.lock
      const lock = ["lock", "waited", "--id", "me", "--ttl", "10m", "--wait"]
      assertFails(yield* server.dlm([...lock, "100ms"]), 75, /"waited" was not free within/)
      const { asked, port } = yield* relay(server.port)
      const waiting = yield* server.start([...lock, "1h"], { env: { DLM_PORT: port } })
      yield* asked
      yield* another.unlock
      assertPrints(yield* waiting.ended, "locked\n")
      assert.match((yield* server.dlm(["test", "waited", "--id", "me"])).stdout, /^locked by this id\n/)
      // It renews, too, and does not give back what it held before.
      assertPrints(
        yield* server.dlm([...lock, "0", "--json"]),
        "{\"status\":\"locked\",\"name\":\"waited\",\"id\":\"me\"}\n"
      )
      assertPrints(yield* server.dlm(["unlock", "waited", "--id", "me"]), "unlocked\n")
    }), timeout)

  it.effect("dlm run holds several names, or none", () =>
    Effect.gen(function*() {
      const server = yield* Server
      const asSomebody = (name: string) => Effect.flatMap(server.locker(name, "somebody"), ({ holder }) => holder)
      const run = yield* server.start([
        "run",
        "c",
        "a",
        "b",
        "a",
        "--",
        "sh",
        "-c",
        "sleep 60 & trap 'kill $!; wait; exit 4' TERM; echo pid $$; wait"
      ])
      yield* run.prints(/^pid \d+\n/)
      assert.deepStrictEqual(yield* Effect.forEach(["a", "b", "c"], asSomebody), ["Another", "Another", "Another"])
      assertFails(yield* server.dlm(["run", "x", "b", "--wait", "0", "--", "echo", "ran"]), 75, /"b" was not free/)
      yield* run.signal("SIGTERM")
      assert.strictEqual((yield* run.ended).status, 4)
      assert.deepStrictEqual(yield* Effect.forEach(["a", "b", "c", "x"], asSomebody), [
        "Nobody",
        "Nobody",
        "Nobody",
        "Nobody"
      ])
    }), timeout)

  it.effect("two that want the same names in another order never wait for each other", () =>
    Effect.gen(function*() {
      const server = yield* Server
      const orders = [["p", "q"], ["q", "p"], ["p", "q"], ["q", "p"]]
      yield* Effect.forEach(orders, (names) =>
        Effect.map(server.dlm(["run", ...names, "--", "echo", "ran"]), (ended) =>
          assertPrints(ended, "ran\n")), {
        concurrency: "unbounded"
      })
    }), timeout)

  it.effect("dlm run stops its command when one of several is lost", () =>
    Effect.gen(function*() {
      const mortal = yield* serve()
      const run = yield* mortal.start([
        "run",
        "a",
        "b",
        "--ttl",
        "2s",
        "--",
        "sh",
        "-c",
        "sleep 60 & trap 'echo got TERM; kill $!; wait; exit 0' TERM; echo pid $$; wait"
      ])
      yield* run.prints(/^pid \d+\n/)
      yield* mortal.process.signal("SIGKILL")
      const { status, stdout } = yield* run.ended
      assert.deepStrictEqual([status, stdout.includes("got TERM\n")], [74, true])
    }), timeout)

  it.effect("dlm run wants names and a command", () =>
    Effect.gen(function*() {
      assertFails(yield* dlm(["run", "a", "b", "--"]), 64, /Missing required argument: command/)
      assertFails(yield* dlm(["run", "--", "a", "b"]), 64, /Missing required argument: name/)
      assertFails(yield* dlm(["run", "a", "", "--", "true"]), 64, /<name>.*at least one character/)
    }), timeout)

  it.effect("dlm test asks without --id whether anybody holds it", () =>
    Effect.gen(function*() {
      const server = yield* Server
      assertPrints(yield* server.dlm(["test", "taken?"]), "free\n")
      yield* (yield* server.locker("taken?", "another")).lock
      assert.strictEqual((yield* server.dlm(["test", "taken?"])).status, 75)
    }), timeout)
})

layer(services, live)("K9: variables and flags", (it) => {
  it.effect("dlm serve listens where DLM_HOST and DLM_PORT say, and flags win", () =>
    Effect.gen(function*() {
      const port = String(yield* closedPort)
      const server = yield* startDlm(["serve"], { env: { DLM_HOST: "localhost", DLM_PORT: port } })
      yield* server.prints(new RegExp(`^dlm: listening on \\S+:${port}\\n`))
      const env = { DLM_HOST: "nowhere.invalid", DLM_PORT: "dlm", DLM_HTTP: "0", DLM_RESTART_GRACE: "1ms" }
      const other = yield* startDlm(["serve", "--host", "127.0.0.1", "--port", "0"], { env })
      yield* other.prints(
        /^dlm: metrics and health on http:\/\/127\.0\.0\.1:\d+\ndlm: page on .*\ndlm: listening on 127\.0\.0\.1:\d+\n/
      )
      assertFails(yield* dlm(["serve"], { env: { DLM_PORT: "dlm" } }), 64, /DLM_PORT|--port/)
      const open = yield* dlm(["serve"], { env: { DLM_HOST: "0.0.0.0", DLM_PORT: "0" } })
      assertFails(open, 64, /lets other machines in/)
    }), timeout)

  it.effect("a time has the same spellings in both", () =>
    Effect.gen(function*() {
      const server = yield* Server
      const run = (env: Record<string, string>, ...flags: ReadonlyArray<string>) =>
        server.dlm(["run", "spelt", ...flags, "--", "echo", "ran"], { env })
      for (const time of ["5s", "5 seconds", "5", "5000ms"]) {
        const env = { DLM_ANSWER_TIMEOUT: time, DLM_OPEN_TIMEOUT: time, DLM_TTL: time, DLM_WAIT: time }
        assertPrints(yield* run(env), "ran\n")
        assertPrints(yield* run({}, "--ttl", time, "--wait", time), "ran\n")
      }
      assertFails(yield* run({ DLM_ANSWER_TIMEOUT: "soon" }), 64, /DLM_ANSWER_TIMEOUT/)
      assertFails(yield* run({ DLM_TTL: "soon" }), 64, /DLM_TTL|--ttl/)
      for (const wire of ["lines", "frames"]) assertPrints(yield* run({ DLM_WIRE: wire }), "ran\n")
      assertFails(yield* run({ DLM_WIRE: "json" }), 64, /DLM_WIRE/)
      // They count: another's lock is not waited for, and a long time to live is refused.
      yield* (yield* server.locker("spelt", "another")).lock
      assertFails(yield* run({ DLM_WAIT: "0" }), 75, /was not free/)
      assertFails(yield* run({ DLM_TTL: "2h" }), 77, /time to live/)
    }), timeout)
})

layer(services, live)("K10: what stood in the way", (it) => {
  const hasIpv6 =
    spawnSync(process.execPath, ["-e", "require('net').createServer().listen(0, '::1', () => process.exit(0))"])
      .status === 0

  it.effect.skipIf(!hasIpv6)("an IPv6 address may be given as dlm serve prints it", () =>
    Effect.gen(function*() {
      const server = yield* startDlm(["serve", "--host", "[::1]", "--port", "0"])
      const [, host, port] = yield* server.prints(/^dlm: listening on (\[::1\]):(\d+)\n/)
      const test = ["test", "a", "--port", port!]
      assertPrints(yield* dlm([...test, "--host", host!]), "free\n")
      assertPrints(yield* dlm([...test, "--host", "::1"]), "free\n")
      assertPrints(yield* dlm(test, { env: { DLM_HOST: host! } }), "free\n")
      const taken = yield* dlm(["serve", "--host", host!, "--port", port!])
      assertFails(taken, 71, new RegExp(`cannot listen on \\[::1\\]:${port} `))
    }), timeout)

  it.effect("dlm serve --json prints one line, with all of it", () =>
    Effect.gen(function*() {
      const server = yield* startDlm(["serve", "--port", "0", "--http", "0", "--json"])
      yield* server.prints(/\n/)
      yield* server.signal("SIGTERM")
      const { stdout } = yield* server.ended
      assert.strictEqual(stdout.split("\n").length, 2, stdout)
      assert.deepStrictEqual(Object.keys(JSON.parse(stdout)), ["listening", "http", "store"])
    }), timeout)

  it.effect("a port that is taken is named by its own flag", () =>
    Effect.gen(function*() {
      const server = yield* Server
      const ended = yield* dlm(["serve", "--port", "0", "--http", String(server.port)])
      assertFails(ended, 71, new RegExp(`cannot listen on 127\\.0\\.0\\.1:${server.port} .*with --host and --http,`))
    }), timeout)

  it.effect("dlm identity ends where no folder can be made", () =>
    Effect.gen(function*() {
      // With a bound, since it did not end at all.
      const running = yield* startDlm(["identity", "bob", "--identities", "/proc/nope/deep"])
      assertFails(yield* Effect.timeout(running.ended, "1 minute"), 71, /\/proc\/nope/)
    }), timeout)
})
