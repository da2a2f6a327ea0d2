/**
 * `dlm top`, of a real server: in a real terminal, and without one.
 */
import * as NodeServices from "@effect/platform-node/NodeServices"
import { assert, describe, it, layer } from "@effect/vitest"
import { Effect, Layer } from "effect"
import * as Path from "node:path"
import * as programs from "../../support/programs.ts"
import { assertFails, bin, closedPort, dlm, serve, Server, startDlm } from "./processes.ts"
import { assertStatus, control, needed, open, type Terminal } from "./terminal.ts"

// Of a machine that is busy.
const timeout = 90_000

const command = [process.execPath, bin]

// The other screen and back, without a cursor and with it.
const enter = /\[\?1049h.\[\?25l/
const leave = /\[\?25h.\[\?1049l/

describe("dlm top without a terminal", () => {
  it.live("prints who is waited for first, and how many more there are, and ends", () =>
    Effect.gen(function*() {
      const server = yield* serve()
      const hold = (name: string, ttl: string, label = "ada") =>
        server.dlm(["lock", name, "--id", "me", "--ttl", ttl, "--label", label])
      yield* hold("order/late", "10m")
      yield* hold("order/soon", "5m", "\u001b[2J鍵")
      yield* hold("other", "3m")
      yield* hold("order/busy", "20m")
      yield* server.start(["lock", "order/busy", "--id", "another", "--wait", "5m"])
      yield* Effect.repeat(server.dlm(["ls", "order/busy"]), { until: ({ stdout }) => stdout.includes("1 waiting") })
      const found = yield* server.dlm(["top", "order/"])
      assert.deepStrictEqual([found.status, found.stderr], [0, ""])
      const lines = found.stdout.split("\n")
      assert.match(lines[0]!, /^dlm top "order\/": 3 names held, 1 waits, 20\S+Z$/)
      assert.match(lines[2]!, /^1 +\d+s +(19m \d+s|20m) +\d+s +exclusive +"order\/busy" +"ada"$/)
      assert.match(lines[3]!, /^0 +(4m \d+s|5m) +\d+s +exclusive +"order\/soon" +"\\u001b\[2J鍵"$/)
      assert.match(lines[4]!, /"order\/late"/)
      assert.deepStrictEqual(lines.slice(5), [""])
      const less = (yield* server.dlm(["top", "--count", "2", "--once"])).stdout.split("\n")
      assert.deepStrictEqual(less.slice(4), ["and 2 more names", ""])
      assert.include(less[3], "\"other\"")
      const { held, more, names, waiting } = JSON.parse(
        (yield* server.dlm(["top", "--json", "--once", "--count", "1"])).stdout
      )
      assert.deepStrictEqual([held, more, waiting, names.length], [4, 3, 1, 1])
      const [{ kind, longestWait, name }] = names
      assert.deepStrictEqual([kind, name, longestWait > 0 && longestWait < timeout], ["exclusive", "order/busy", true])
    }).pipe(Effect.scoped), timeout)

  it.live(
    "with --json goes on, also over a server that is away, until it is told to end",
    () =>
      Effect.gen(function*() {
        const port = String(yield* closedPort)
        assertFails(yield* dlm(["top", "--port", port]), 69, /no lock server can be reached/)
        assert.match((yield* dlm(["top", "--json", "--port", port])).stdout, /^\{"error":"TransportError",.*\}\n$/)
        const before = yield* startDlm(["serve", "--port", port])
        yield* before.prints(/listening/)
        const looking = yield* startDlm(["top", "--json", "--every", "100ms", "--port", port])
        yield* looking.prints(/^\{"at":"20\S+Z","held":0,"waiting":0,"names":\[\],"more":0\}\n/)
        yield* dlm(["lock", "a", "--id", "me", "--port", port])
        yield* looking.prints(/"held":1,"waiting":0,"names":\[\{"name":"a"/)
        yield* before.signal("SIGKILL")
        yield* looking.prints(/^\{"at":"20\S+Z","error":"TransportError","message":"[^\n]+"\}\n/m)
        yield* Effect.andThen(startDlm(["serve", "--port", port]), ({ prints }) => prints(/listening/))
        yield* looking.prints(/"error":"TransportError".*\n(.*\n)*.*"held":0/)
        yield* looking.signal("SIGINT")
        const { status, stderr, stdout } = yield* looking.ended
        assert.deepStrictEqual([status, stderr], [130, ""])
        for (const line of stdout.trim().split("\n")) assert.isObject(JSON.parse(line))
      }).pipe(Effect.scoped),
    timeout
  )

  it.live("refuses what it cannot do", () =>
    Effect.gen(function*() {
      for (const every of ["0", "50ms", "Infinity", "soon"]) {
        assertFails(yield* dlm(["top", "--every", every]), 64, /--every.*Expected/)
      }
      for (const count of ["0", "1001"]) assertFails(yield* dlm(["top", "--count", count]), 64, /--count/)
    }), timeout)
})

/** It has ended with this status, and its terminal is in the mode that the shell has kept as `was`. */
const assertAsItWas = (terminal: Terminal, status: number) =>
  Effect.gen(function*() {
    yield* assertStatus(terminal, status)
    yield* terminal.type("test \"$was\" = \"$(stty -g)\"; echo sa''me $?.\n")
    yield* terminal.shows(/same 0\./)
  })

programs.describeWith("dlm top in a terminal", needed, () => {
  layer(Layer.mergeAll(Server.layer, NodeServices.layer), { excludeTestServices: true, concurrent: true })((it) => {
    const opened = Effect.flatMap(Server, ({ port }) => open(command, { DLM_PORT: String(port) }))

    for (const [what, key, status] of [["q", "q", 0], ["Ctrl-C", control("C"), 130]] as const) {
      it.effect(`shows what changes, until ${what}, and leaves the terminal as it was`, () =>
        Effect.gen(function*() {
          const server = yield* Server
          const { shows, type } = yield* opened
          yield* type(`stty cols 80 rows 5; was=$(stty -g); dlm top ${what}/ --every 100ms\n`)
          yield* shows(enter)
          yield* shows(/: 0 names held, 0 wait, 20\S+Z/)
          for (const i of [1, 2, 3, 4]) yield* (yield* server.locker(`${what}/${i}`, "me")).lock
          // Of five lines two are left for names.
          yield* shows(
            /: 4 names held, [^\n]*\n[^\n]*WAITING[^\n]*\n[^\n]*\/1"[^\n]*\n[^\n]*\/2"[^\n]*\n[^\n]*and 2 more names/
          )
          // Keys that come together, and none of those that are more than a letter.
          yield* type("\u001b[q")
          yield* shows(/ names held/)
          yield* type(`x\n${key}`)
          yield* shows(leave)
          yield* assertAsItWas({ shows, type }, status)
        }), timeout)
    }

    it.effect("leaves the terminal as it was where it is told to end", () =>
      Effect.gen(function*() {
        const { shows, type } = yield* opened
        for (const [signal, status] of [["SIGTERM", 143], ["SIGHUP", 129], ["SIGINT", 130]] as const) {
          yield* type("was=$(stty -g); sh -c 'echo p''id $$.; exec $DLM top'\n")
          const [, pid] = yield* shows(/pid (\d+)\./)
          yield* shows(enter)
          yield* shows(/WAITING|names held/)
          yield* Effect.sync(() => process.kill(Number(pid), signal))
          yield* shows(leave)
          yield* assertAsItWas({ shows, type }, status)
        }
      }), timeout)

    it.effect("leaves it as it was where no scope is closed, as after a bug", () =>
      Effect.gen(function*() {
        const { shows, type } = yield* opened
        const screen = Path.join(import.meta.dirname, "../../../src/node/Screen.ts")
        const program =
          `Promise.all(["${screen}", "effect/Effect"].map((file) => import(file))).then(([Screen, Effect]) => ` +
          "Effect.runSync(Effect.scoped(Effect.andThen(Screen.open, Effect.sync(() => process.exit(3))))))"
        yield* type("was=$(stty -g); ${DLM% *} -e \"$PROGRAM\"\n".replace("$PROGRAM", program.replaceAll("\"", "\\\"")))
        yield* shows(enter)
        yield* shows(leave)
        yield* assertAsItWas({ shows, type }, 3)
      }), timeout)

    it.effect("Ctrl-Z gives the terminal back, and fg goes on", () =>
      Effect.gen(function*() {
        const { shows, type } = yield* opened
        yield* type("dlm top\n")
        yield* shows(enter)
        yield* shows(/names? held/)
        yield* type(control("Z"))
        yield* shows(leave)
        yield* shows(/Stopped|Suspended/)
        yield* shows(/ready> /)
        yield* type("fg\n")
        yield* shows(enter)
        yield* shows(/names? held/)
        yield* type("q")
        yield* shows(leave)
        yield* assertStatus({ shows, type }, 0)
      }), timeout)

    it.effect(
      "Ctrl-Z stops nothing that no shell could let go on, and takes the terminal again",
      () =>
        Effect.gen(function*() {
          const { shows, type } = yield* opened
          yield* type("exec $DLM top\n")
          yield* shows(enter)
          yield* shows(/names? held/)
          yield* type(control("Z"))
          yield* shows(leave)
          yield* shows(enter)
          yield* shows(/names? held/)
          yield* type("q")
          yield* shows(leave)
        }),
      timeout
    )

    it.effect("says that the server is away, goes on looking, and shows it again", () =>
      Effect.gen(function*() {
        const mortal = yield* serve()
        const { shows, type } = yield* open(command, { DLM_PORT: String(mortal.port) })
        yield* type("dlm top --every 100ms\n")
        yield* shows(/: 0 names held/)
        yield* mortal.process.signal("SIGKILL")
        yield* shows(/no answer, this is as of 20\S+Z: /)
        const again = yield* startDlm(["serve", "--port", String(mortal.port)])
        yield* again.prints(/listening/)
        yield* (yield* mortal.locker("back", "me")).lock
        yield* shows(/: 1 name held, 0 wait, 20\S+Z[^\n]*\n[^\n]*WAITING/)
        yield* type("q")
        // What is typed before is typed to it.
        yield* shows(leave)
        yield* assertStatus({ shows, type }, 0)
      }), timeout)
  })
})
