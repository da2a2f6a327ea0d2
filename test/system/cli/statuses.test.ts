/**
 * Each exit status of the table in docs/COMMAND.md, by a real process that ends with it.
 */
import * as NodeServices from "@effect/platform-node/NodeServices"
import { assert, layer } from "@effect/vitest"
import { Effect, FileSystem, Layer } from "effect"
import * as fs from "node:fs"
import * as Net from "node:net"
import * as Path from "node:path"
import { project } from "../../docs/blocks.ts"
import { closedPort, dlm, folder, serve, Server } from "./processes.ts"

// Of a machine that is busy.
const timeout = 180_000

/** The first cells of the table. */
const documented = fs.readFileSync(Path.join(project, "docs/COMMAND.md"), "utf8").split("\n| status | meaning |\n")[1]!
  .split("\n").slice(1).filter((_, index, lines) => lines.slice(0, index + 1).every((one) => one.startsWith("|")))
  .map((line) => line.split("|")[1]!.trim())

/** A server that answers in another protocol. */
const stranger = Effect.acquireRelease(
  Effect.callback<Net.Server>((resume) => {
    const server = Net.createServer((socket) => {
      socket.on("error", () => {})
      socket.end("HTTP/1.1 400 Bad Request\r\n\r\n")
    })
    server.listen(0, "127.0.0.1", () => resume(Effect.succeed(server)))
  }),
  (server) => Effect.sync(() => server.close())
)

const shell = (name: string, script: string, ...flags: ReadonlyArray<string>) => [
  "run",
  name,
  ...flags,
  "--",
  "sh",
  "-c",
  script
]

const status = (ended: { readonly status: number | null }) => ended.status

/** What ends with each. */
const cases: Readonly<
  Record<string, Effect.Effect<number | null, unknown, Server | FileSystem.FileSystem | import("effect").Scope.Scope>>
> = {
  "0": Effect.flatMap(Server, ({ dlm }) => Effect.map(dlm(["version"]), status)),
  "64": Effect.map(dlm(["nonsense"]), status),
  "65": Effect.flatMap(
    Server,
    ({ dlm }) => Effect.map(dlm(["put", "a", "-", "--id", "me"], { stdin: Uint8Array.of(255) }), status)
  ),
  "66": Effect.flatMap(Server, ({ dlm }) => Effect.map(dlm(["get", "nothing", "--id", "me"]), status)),
  "69": Effect.flatMap(closedPort, (port) => Effect.map(dlm(["version", "--port", String(port)]), status)),
  // A bug, put into its process.
  "70": Effect.flatMap(folder, (at) =>
    Effect.map(
      dlm(["identity", "bob", "--identities", at], {
        env: { NODE_OPTIONS: "--import=data:text/javascript,crypto.getRandomValues=()=>{throw(1)}" }
      }),
      status
    )),
  "71": Effect.flatMap(Server, ({ port }) => Effect.map(dlm(["serve", "--port", String(port)]), status)),
  // The second of two that exclude each other, while the first has not ended.
  "72": Effect.flatMap(folder, (at) => {
    const file = Path.join(at, "audit.log")
    const taken = (Number: string, Fence: string) =>
      JSON.stringify({ Number, At: "1700000000000", Event: "Taken", FileName: "f", Fence })
    fs.writeFileSync(file, `${taken("1", "7")}\n${taken("2", "8")}\n`)
    return Effect.map(dlm(["audit", file]), status)
  }),
  "73": Effect.flatMap(Server, ({ script }) => Effect.map(script("\"$@\" version > /dev/full"), status)),
  "74": Effect.gen(function*() {
    const mortal = yield* serve()
    const kill = `kill -KILL ${mortal.process.pid}; sleep 60 & trap 'kill $!' TERM; wait`
    return status(yield* mortal.dlm(shell("lost", kill, "--ttl", "2s")))
  }),
  "75": Effect.gen(function*() {
    const server = yield* Server
    yield* (yield* server.locker("held", "another")).lock
    return status(yield* server.dlm(["lock", "held", "--id", "me"]))
  }),
  "76": Effect.flatMap(
    stranger,
    (server) =>
      Effect.map(dlm(["lock", "a", "--id", "me", "--port", String((server.address() as Net.AddressInfo).port)]), status)
  ),
  "77": Effect.flatMap(Server, ({ dlm }) => Effect.map(dlm(["lock", "a", "--id", "me", "--ttl", "2h"]), status)),
  "126": Effect.gen(function*() {
    return status(yield* (yield* Server).dlm(["run", "folder", "--", yield* folder]))
  }),
  "127": Effect.flatMap(Server, ({ dlm }) => Effect.map(dlm(["run", "none", "--", "no-such-command"]), status)),
  "128+n": Effect.flatMap(
    Server,
    ({ dlm }) => Effect.map(dlm(shell("signal", "kill -TERM $$")), ({ status }) => status === 143 ? NaN : status)
  ),
  "other": Effect.flatMap(
    Server,
    ({ dlm }) => Effect.map(dlm(shell("own", "exit 7")), ({ status }) => status === 7 ? NaN : status)
  )
}

layer(Layer.mergeAll(Server.layer, NodeServices.layer), { excludeTestServices: true, concurrent: true })(
  "the exit statuses of dlm",
  (it) => {
    it.effect("are those of the table, each once", () =>
      Effect.sync(() => assert.sameMembers(documented, Object.keys(cases))))

    for (const [expected, ended] of Object.entries(cases)) {
      it.effect(`are seen: ${expected}`, () =>
        Effect.map(ended, (status) => {
          if (Number.isNaN(Number(expected))) assert.isNaN(status)
          else assert.strictEqual(status, Number(expected))
        }), timeout)
    }
  }
)
