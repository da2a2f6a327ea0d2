/**
 * Every stream of the command that can fail.
 */
import * as NodeServices from "@effect/platform-node/NodeServices"
import { assert, layer } from "@effect/vitest"
import { Effect, FileSystem, Layer } from "effect"
import * as programs from "../../support/programs.ts"
import { assertFails, assertPrints, type Ended, folder, Server } from "./processes.ts"

// Of a machine that is busy: each command is a process.
const timeout = 300_000

const assertUnwritten = (ended: Ended, problem = /standard output cannot be written \(ENOSPC\)/) =>
  assertFails(ended, 73, problem)

layer(Layer.mergeAll(Server.layer, NodeServices.layer), { excludeTestServices: true, concurrent: true })(
  "K3: standard output that takes nothing",
  (it) => {
    const mine = "--id me --ttl 10m"
    const commands: ReadonlyArray<readonly [command: string, before?: string]> = [
      ["version"],
      ["version --json"],
      [`lock a ${mine}`],
      [`lock b ${mine} --json`],
      ["test c --id me"],
      ["test c --json"],
      [`unlock d --id me`],
      [`put e text ${mine}`],
      ["get f --id me", `put f text ${mine}`],
      ["get g --id me --json", `put g text ${mine}`],
      ["erase h --id me", `put h text ${mine}`],
      ["serve --port 0 --host 127.0.0.1"],
      ["serve --port 0 --json"],
      ["--help"],
      ["run --help"],
      ["--version"],
      ["--completions bash"]
    ]
    it.effect("is told by each command, with a status of its own", () =>
      Effect.gen(function*() {
        const server = yield* Server
        yield* Effect.forEach(commands, ([command, before]) =>
          Effect.gen(function*() {
            if (before !== undefined) assert.strictEqual((yield* server.dlm(before.split(" "))).status, 0)
            assertUnwritten(yield* server.script(`"$@" ${command} > /dev/full`))
          }), { concurrency: 2 })
        // It is done all the same.
        assert.match((yield* server.dlm(["test", "a", "--id", "me"])).stdout, /^locked by this id\n/)
      }), timeout)

    it.effect("is told by dlm identity, which has made the file", () =>
      Effect.gen(function*() {
        const server = yield* Server
        const at = yield* folder
        assertUnwritten(yield* server.script(`"$@" identity bob --identities ${at} > /dev/full`))
        assert.isTrue(yield* (yield* FileSystem.FileSystem).exists(`${at}/bob.cfg`))
      }), timeout)

    it.effect("is told where nobody reads it", () =>
      Effect.gen(function*() {
        const server = yield* Server
        const at = yield* folder
        // The reader is gone before anything is written.
        const ended = yield* server.script(
          `cd ${at} && mkfifo gone && exec 3>&1 && { read line < gone; "$@" version 2>&3; echo "status $?" >&3; } | ` +
            "sh -c 'exec <&-; echo > gone'"
        )
        assert.match(ended.stdout, /^dlm: standard output cannot be written \(EPIPE\)\nstatus 73\n$/)
      }), timeout)

    it.effect("does not hide why a command failed", () =>
      Effect.gen(function*() {
        const server = yield* Server
        yield* (yield* server.locker("held", "another")).lock
        const ended = yield* server.script("\"$@\" lock held --id me --json > /dev/full")
        assertFails(ended, 75, /held by another/)
      }), timeout)

    it.effect("nor does standard error that takes nothing change a status", () =>
      Effect.gen(function*() {
        const server = yield* Server
        yield* (yield* server.locker("taken", "another")).lock
        const of = (command: string) =>
          Effect.map(server.script(`"$@" ${command} 2> /dev/full`), ({ status }) => status)
        assert.strictEqual(yield* of("lock taken --id me"), 75)
        assert.strictEqual(yield* of("run taken --wait 0 -- true"), 75)
        assert.strictEqual(yield* of("nonsense"), 64)
        assert.strictEqual(yield* of("version > /dev/full"), 73)
      }), timeout)
  }
)

layer(Layer.mergeAll(Server.layer, NodeServices.layer), { excludeTestServices: true, concurrent: true })(
  "K3: standard input that cannot be read",
  (it) => {
    const stored = "what was there"
    const put = (name: string) => `"$@" put ${name} - --id me --ttl 10m`
    const assertKept = Effect.fnUntraced(function*(name: string) {
      assertPrints(yield* (yield* Server).dlm(["get", name, "--id", "me"]), stored)
    })

    for (
      const [what, from, problem] of [
        ["a folder", "< /", /standard input cannot be read \(EISDIR\)/],
        ["closed", "<&-", /standard input cannot be read \(it is closed\)/],
        ["open for writing alone", "0> /dev/null", /standard input cannot be read/]
      ] as const
    ) {
      it.effect(`stores nothing: ${what}`, () =>
        Effect.gen(function*() {
          const server = yield* Server
          const name = what.replaceAll(" ", "-")
          yield* (yield* server.locker(name, "me")).put(stored)
          assertFails(yield* server.script(`${put(name)} ${from}`), 73, problem)
          yield* assertKept(name)
        }), timeout)
    }

    it.effect("stores nothing: half of a character at the end", () =>
      Effect.gen(function*() {
        const server = yield* Server
        yield* (yield* server.locker("half", "me")).put(stored)
        const ended = yield* server.script(put("half"), { stdin: Uint8Array.of(97, 0xc3) })
        assertFails(ended, 65, /standard input is not UTF-8 text/)
        yield* assertKept("half")
      }), timeout)

    it.effect("stores what is empty", () =>
      Effect.gen(function*() {
        const server = yield* Server
        assertPrints(yield* server.script(`${put("empty")} < /dev/null`), "done\n")
        assertPrints(yield* server.dlm(["get", "empty", "--id", "me"]), "")
      }), timeout)
  }
)

programs.describeWith("K3: a terminal", { script: "bsdutils", setsid: "util-linux" }, () => {
  layer(Layer.mergeAll(Server.layer, NodeServices.layer), { excludeTestServices: true })((it) => {
    it.effect("that is gone is no end of the input", () =>
      Effect.gen(function*() {
        const server = yield* Server
        const at = yield* folder
        yield* (yield* server.locker("tty", "me")).put("what was there")
        // It reads its terminal when that is gone: the one that had made it has ended.
        const ended = yield* server.script(
          `cd ${at} && mkfifo gone ended && export dlm="$*" && ` +
            `script -qec 'trap "" HUP; setsid -f sh -c "cat gone; \\$dlm put tty - --id me > out 2>&1; echo \\$? > ended"' ` +
            `/dev/null < /dev/null > /dev/null && echo > gone && cat ended && cat out >&2`
        )
        assert.deepStrictEqual(
          [ended.stdout, ended.stderr],
          ["73\n", "dlm: standard input cannot be read (its terminal is gone)\n"]
        )
        assertPrints(yield* server.dlm(["get", "tty", "--id", "me"]), "what was there")
      }), timeout)
  })
})
