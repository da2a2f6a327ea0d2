/**
 * `dlm run --tty`, in a real terminal.
 */
import * as NodeServices from "@effect/platform-node/NodeServices"
import { assert, layer } from "@effect/vitest"
import { Effect, Layer } from "effect"
import * as programs from "../../support/programs.ts"
import { bin, relay, serve, Server } from "./processes.ts"
import { assertStatus, control, needed, open } from "./terminal.ts"

const timeout = 180_000

const dlm = [process.execPath, bin]

const terminal = Effect.flatMap(Server, ({ port }) => open(dlm, { DLM_PORT: String(port) }))

const holder = Effect.fnUntraced(function*(name: string) {
  return yield* (yield* (yield* Server).locker(name, "somebody")).holder
})

programs.describeWith("dlm run --tty", needed, () => {
  layer(Layer.mergeAll(Server.layer, NodeServices.layer), { excludeTestServices: true, concurrent: true })((it) => {
    it.effect("lets a command read from its terminal, and without it does not", () =>
      Effect.gen(function*() {
        const { shows, type } = yield* terminal
        const ask = "sh -c 'read x < /dev/tty && echo got $x. || exit 9; exit 5'\n"
        yield* type(`dlm run read --tty -- ${ask}`)
        yield* Effect.repeat(holder("read"), { until: (who) => who === "Another" })
        yield* type("ada\n")
        yield* shows(/got ada\./)
        yield* assertStatus({ shows, type }, 5)
        yield* type(`dlm run read -- ${ask}`)
        yield* shows(/cannot open \/dev\/tty|\/dev\/tty: No such device/i)
        yield* assertStatus({ shows, type }, 9)
      }), timeout)

    it.effect("Ctrl-C goes to the command once, and the command decides", () =>
      Effect.gen(function*() {
        const { shows, type } = yield* terminal
        yield* type(
          "dlm run int --tty -- sh -c 'n=0; trap \"n=\\$((n+1))\" INT; echo rea\"\"dy.; read x; read x; echo got $n.; exit 6'\n"
        )
        yield* shows(/ready\./)
        yield* type(control("C"))
        yield* shows(/\^C/)
        yield* type("\n\n")
        yield* shows(/got 1\./)
        yield* assertStatus({ shows, type }, 6)
        yield* type("dlm run int --tty -- sh -c 'echo rea\"\"dy.; sleep 60'\n")
        yield* shows(/ready\./)
        yield* type(control("C"))
        yield* shows(/ready> /)
        yield* assertStatus({ shows, type }, 130)
        assert.strictEqual(yield* holder("int"), "Nobody")
      }), timeout)

    it.effect(
      "Ctrl-Z stops the command and gives the terminal back; the lock is held and renewed until fg ends it",
      () =>
        Effect.gen(function*() {
          const server = yield* Server
          const { shows, type } = yield* terminal
          yield* type("dlm run stop --ttl 2s --tty -- sh -c 'echo rea\"\"dy.; read x; echo got $x.; exit 7'\n")
          yield* shows(/ready\./)
          yield* type(control("Z"))
          yield* shows(/Stopped|Suspended/)
          yield* shows(/ready> /)
          // For longer than its time to live.
          const waited = yield* server.dlm(["run", "stop", "--wait", "4s", "--", "echo", "ran"])
          assert.strictEqual(waited.status, 75, waited.stderr)
          yield* type("fg\n")
          yield* shows(/dlm run stop|DLM|bin\.ts|sh -c/)
          yield* type("again\n")
          yield* shows(/got again\./)
          yield* assertStatus({ shows, type }, 7)
        }),
      timeout
    )

    it.effect("Ctrl-Z gives the terminal back while it waits, too", () =>
      Effect.gen(function*() {
        const server = yield* Server
        const another = yield* server.locker("wait", "another")
        yield* another.lock
        const { asked, port } = yield* relay(server.port)
        const { shows, type } = yield* open(dlm, { DLM_PORT: port })
        yield* type("dlm run wait --tty -- echo r''an.\n")
        yield* asked
        yield* type(control("Z"))
        yield* shows(/Stopped|Suspended/)
        yield* another.unlock
        yield* type("fg\n")
        yield* shows(/ran\./)
        yield* assertStatus({ shows, type }, 0)
      }), timeout)

    it.effect("a lost lock ends a command that is stopped", () =>
      Effect.gen(function*() {
        const mortal = yield* serve()
        const { shows, type } = yield* open(dlm, { DLM_PORT: String(mortal.port) })
        yield* type(
          "dlm run lost --ttl 10s --tty -- sh -c 'trap \"echo got TE\"\"RM.\" TERM; echo rea\"\"dy.; read x; exit 3'\n"
        )
        yield* shows(/ready\./)
        yield* type(control("Z"))
        yield* shows(/Stopped|Suspended/)
        yield* mortal.process.signal("SIGKILL")
        yield* shows(/got TERM\./)
        // A command that goes on to read is stopped by its terminal, and dlm with it, before or after it has said so.
        yield* type("fg\n")
        yield* shows(/dlm: the lock on "lost" is lost: [^\n]+ sh was stopped/)
        yield* assertStatus({ shows, type }, 74)
      }), timeout)

    it.effect("TERM that is sent to dlm ends the command", () =>
      Effect.gen(function*() {
        const { shows, type } = yield* terminal
        yield* type(
          "$DLM run term --tty -- sh -c 'trap \"exit 8\" TERM; echo rea\"\"dy.; while :; do sleep 0.05; done' &\n"
        )
        yield* shows(/ready\./)
        yield* type("kill -TERM $!; wait $!\n")
        yield* assertStatus({ shows, type }, 8)
      }), timeout)
  })
})
