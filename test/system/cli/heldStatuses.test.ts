/**
 * Each status of the table of `dlm run` and `dlm elect` in docs/COMMAND.md, by real processes that end with it, or go on.
 */
import * as NodeServices from "@effect/platform-node/NodeServices"
import { assert, layer } from "@effect/vitest"
import { Effect, FileSystem, Layer, Result, type Scope } from "effect"
import { Wire } from "effect-dlm/protocol"
import * as fs from "node:fs"
import * as Net from "node:net"
import * as Path from "node:path"
import { project } from "../../docs/blocks.ts"
import { closedPort, dlm, folder, relay, serve, Server } from "./processes.ts"

// Of a machine that is busy.
const timeout = 180_000

type Sub = "run" | "elect"

/** The rows of the table: of which command, what happened, and the status. */
const documented = fs.readFileSync(Path.join(project, "docs/COMMAND.md"), "utf8")
  .split("\n| of | what happened | status |\n")[1]!.split("\n\n")[0]!.trimEnd().split("\n").slice(1)
  .map((line) => line.slice(1, -1).split("|").map((cell) => cell.trim()))

const sh = (script: string, ...args: ReadonlyArray<string>) => ["--", "sh", "-c", script, "sh", ...args]

/** What this proxy hides: that the server knows permits, and frames, which a proxy cannot read that reads lines. */
const hidden = new Set(["permits", "frames", ""])

/** A port that leads to a server, and hides of its features that it knows permits. */
const withoutPermits = (to: number) =>
  Effect.map(
    Effect.acquireRelease(
      Effect.callback<Net.Server>((resume) => {
        const server = Net.createServer((near) => {
          const far = Net.connect(to, "127.0.0.1")
          near.on("error", () => far.destroy()).pipe(far)
          far.on("error", () => near.destroy()).on("end", () => near.end())
          const framer = new Wire.Framer(100_000)
          far.on("data", (chunk) => {
            for (const line of framer.push(chunk)) {
              const { Features, ...answer } = JSON.parse(Result.getOrThrow(Wire.decodeLine(line)))
              const features = String(Features ?? "").split(",").filter((one) => !hidden.has(one))
              const text = JSON.stringify(features.length > 0 ? { ...answer, Features: features.join(",") } : answer)
              near.write(Wire.encodeLine(text))
            }
          })
        })
        server.listen(0, "127.0.0.1", () => resume(Effect.succeed(server)))
      }),
      (server) => Effect.sync(() => server.close())
    ),
    (server) => ({ DLM_PORT: String((server.address() as Net.AddressInfo).port) })
  )

type Case = (sub: Sub) => Effect.Effect<string, unknown, Server | FileSystem.FileSystem | Scope.Scope>

const statusOf = ({ status }: { readonly status: number | null }) => String(status)

/** By an option `--conflict-status` as well, where the table names it. */
const orConflict = (
  run: (...flags: ReadonlyArray<string>) => Effect.Effect<{ readonly status: number | null }, unknown, Server>
) =>
  Effect.gen(function*() {
    const plain = statusOf(yield* run())
    assert.strictEqual(statusOf(yield* run("--conflict-status", "9")), "9")
    return `${plain}, or \`--conflict-status\``
  })

/** Its lead is lost to a server that has forgotten it, where another holds the name. */
const losing = Effect.fnUntraced(function*(name: string, script: string) {
  const before = yield* serve()
  const after = yield* Server
  const another = yield* after.locker(name, "another")
  yield* another.lock
  const { port, turn } = yield* relay(before.port)
  const run = yield* before.start(["elect", name, "--ttl", "4s", ...sh(script)], { env: { DLM_PORT: port } })
  yield* run.prints(/^pid \d+\n/)
  return { run, another, lose: turn(after.port) }
})

const cases: Readonly<Record<string, Case>> = {
  "both: the command has ended by itself": (sub) =>
    Effect.gen(function*() {
      const ended = yield* (yield* Server).dlm([sub, `own of ${sub}`, ...sh("exit 7")])
      assert.strictEqual(ended.status, 7)
      return "its own"
    }),
  "both: signal n has ended the command": (sub) =>
    Effect.gen(function*() {
      const ended = yield* (yield* Server).dlm([sub, `signal of ${sub}`, ...sh("kill -KILL $$")])
      assert.strictEqual(ended.status, 128 + 9)
      return "128 + n"
    }),
  "both: wrong use, such as flags that do not fit together": (sub) =>
    Effect.map(
      dlm(sub === "run" ? ["run", "a", "--weight", "2", ...sh("true")] : ["elect", "a", "b", ...sh("true")]),
      statusOf
    ),
  "both: no server can be reached": (sub) =>
    Effect.flatMap(closedPort, (port) => Effect.map(dlm([sub, "a", "--port", String(port), ...sh("true")]), statusOf)),
  "both: the server refuses, such as a `--ttl` above its limit": (sub) =>
    Effect.flatMap(Server, ({ dlm }) => Effect.map(dlm([sub, "a", "--ttl", "2h", ...sh("true")]), statusOf)),
  "both: the command cannot be executed": (sub) =>
    Effect.gen(function*() {
      return statusOf(yield* (yield* Server).dlm([sub, `folder of ${sub}`, "--", yield* folder]))
    }),
  "both: there is no such command": (sub) =>
    Effect.flatMap(Server, ({ dlm }) => Effect.map(dlm([sub, `none of ${sub}`, "--", "no-such-command"]), statusOf)),
  "both: told to end by signal n while it waits or campaigns": (sub) =>
    Effect.gen(function*() {
      const server = yield* Server
      yield* (yield* server.locker(`told ${sub}`, "another")).lock
      const { asked, port } = yield* relay(server.port)
      const run = yield* server.start([sub, `told ${sub}`, ...sh("echo ran")], { env: { DLM_PORT: port } })
      yield* asked
      yield* run.signal("SIGTERM")
      const ended = yield* run.ended
      assert.deepStrictEqual([ended.status, ended.stdout, ended.stderr], [128 + 15, "", ""])
      return "128 + n"
    }),
  "`run`: the lock was lost, and the command was stopped": () =>
    Effect.gen(function*() {
      const mortal = yield* serve()
      const kill = `kill -KILL ${mortal.process.pid}; sleep 60 & trap 'kill $!' TERM; wait`
      return statusOf(yield* mortal.dlm(["run", "lost", "--ttl", "2s", ...sh(kill)]))
    }),
  "`run`: another holds the lock for all of `--wait`": () =>
    Effect.gen(function*() {
      const server = yield* Server
      yield* (yield* server.locker("held", "another")).lock
      return yield* orConflict((...flags) => server.dlm(["run", "held", "--wait", "0", ...flags, ...sh("true")]))
    }),
  "`run`: the name is held with another number of `--permits`": () =>
    Effect.gen(function*() {
      const server = yield* Server
      const holder = yield* server.start(["run", "limited", "--permits", "3", ...sh("echo pid $$; sleep 60")])
      yield* holder.prints(/^pid/)
      return yield* orConflict((...flags) =>
        Effect.tap(
          server.dlm(["run", "limited", "--permits", "4", ...flags, ...sh("true")]),
          ({ stderr }) => Effect.sync(() => assert.match(stderr, /^dlm: "limited" [^\n]*\b4\b[^\n]*\b3\b[^\n]*\n$/))
        )
      )
    }),
  ...Object.fromEntries([["--shared"], ["--permits", "2"]].map((flags): [string, Case] => [
    `\`run\`: the server does not know \`${flags[0]}\``,
    () =>
      Effect.gen(function*() {
        const server = yield* Server
        const env = yield* withoutPermits(server.port)
        const ended = yield* server.dlm(["run", "a", ...flags, ...sh("echo ran")], { env })
        assert.strictEqual(ended.stdout, "")
        assert.match(ended.stderr, /^dlm: "a": the lock server \([^\n]+\) does not know "permits"[^\n]+\n$/)
        // What it needs no feature for it does all the same.
        assert.strictEqual((yield* server.dlm(["run", "a", ...sh("echo ran")], { env })).stdout, "ran\n")
        return statusOf(ended)
      })
  ])),
  "`run`: `--once-per`: it was started already": () =>
    Effect.gen(function*() {
      const server = yield* Server
      const once = (...flags: ReadonlyArray<string>) =>
        server.dlm(["run", "once", "--once-per", "5m", ...flags, ...sh("echo ran")])
      assert.strictEqual((yield* once()).stdout, "ran\n")
      return yield* orConflict(once)
    }),
  "`elect`: told to end while it leads": () =>
    Effect.gen(function*() {
      const run = yield* (yield* Server).start([
        "elect",
        "told, leading",
        "--again",
        ...sh("sleep 60 & trap 'wait; exit 42' TERM; echo pid $$; wait")
      ])
      yield* run.prints(/^pid/)
      yield* run.signal("SIGTERM")
      assert.strictEqual((yield* run.ended).status, 42)
      return "that of its command"
    }),
  "`elect`: the lead was lost, and it was told to end meanwhile": () =>
    Effect.gen(function*() {
      const script = "trap '' TERM; trap 'echo got INT' INT; echo pid $$; while :; do sleep 0.02; done"
      const { lose, run } = yield* losing("lost, told", script)
      yield* run.signal("SIGINT")
      yield* run.prints(/^got INT\n/m)
      yield* lose
      const ended = yield* run.ended
      assert.match(ended.stderr, /^dlm: the lock on "lost, told" is lost: [^\n]+ sh was stopped\n$/)
      return statusOf(ended)
    }),
  "`elect`: the lead was lost": () =>
    Effect.gen(function*() {
      const script = "sleep 60 & trap 'wait; echo got TERM; exit 5' TERM; echo pid $$; wait"
      const { another, lose, run } = yield* losing("lost, leading", script)
      yield* lose
      yield* run.prints(/got TERM\n/)
      yield* run.complains(
        /^dlm: the lock on "lost, leading" is lost: [^\n]+ sh was stopped, and it campaigns again\n$/
      )
      assert.strictEqual(yield* another.holder, "Me")
      yield* another.unlock
      yield* run.prints(/got TERM\npid \d+\n/)
      yield* run.signal("SIGTERM")
      assert.strictEqual((yield* run.ended).status, 5)
      return "goes on"
    }),
  "`elect`: `--again`: the command has ended by itself": () =>
    Effect.gen(function*() {
      // A signal that only the command is to hear is none to end by.
      const script = "sleep 60 & trap 'wait; exit 3' USR1; trap 'wait; exit 4' TERM; echo pid $$; wait"
      const run = yield* (yield* Server).start(["elect", "again", "--again", ...sh(script)])
      yield* run.prints(/^pid \d+\n/)
      yield* run.signal("SIGUSR1")
      yield* run.prints(/^pid \d+\npid \d+\n/)
      yield* run.signal("SIGTERM")
      assert.strictEqual((yield* run.ended).status, 4)
      return "goes on"
    })
}

layer(Layer.mergeAll(Server.layer, NodeServices.layer), { excludeTestServices: true, concurrent: true })(
  "the statuses of dlm run and dlm elect",
  (it) => {
    it.effect("are those of the table, each once", () =>
      Effect.sync(() => assert.sameMembers(documented.map(([of, what]) => `${of}: ${what}`), Object.keys(cases))))

    for (const [of, what, expected] of documented) {
      for (const sub of ["run", "elect"] as const) {
        if (of !== "both" && of !== `\`${sub}\``) continue
        it.effect(
          `dlm ${sub}: ${what}`,
          () =>
            Effect.flatMap(
              cases[`${of}: ${what}`]!(sub),
              (status) => Effect.sync(() => assert.strictEqual(status, expected))
            ),
          timeout
        )
      }
    }
  }
)
