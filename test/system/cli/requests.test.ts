import * as NodeServices from "@effect/platform-node/NodeServices"
import { assert, describe, it, layer } from "@effect/vitest"
import { Effect, FileSystem, Layer } from "effect"
import type { Protocol } from "effect-dlm/protocol"
import * as Tcp from "../../support/peers.ts"
import { assertFails, assertPrints, closedPort, dlm, folder, serve, Server } from "./processes.ts"

/** Asserts what `--json` prints of an error: a line of JSON, and the plain line too. */
const assertFailsJson = (
  { status, stderr, stdout }: { readonly status: number | null; readonly stderr: string; readonly stdout: string },
  expected: number,
  error: string
) => {
  const line = JSON.parse(stdout)
  assert.deepStrictEqual([status, line.error, stdout.split("\n").length], [expected, error, 2])
  assert.strictEqual(stderr, `dlm: ${line.message}\n`)
}

/** A line about a holder. */
const holding = (who: string, weight = "") =>
  new RegExp(`^${who.replace(/[\\[\]]/g, "\\$&")} since 20\\S+Z${weight}, ends in [\\dms ]+ unless it is renewed$`)

/** Asserts what is told of a lock: of each line what it is, and of the last how many wait. */
const assertTells = (
  ended: { readonly status: number | null; readonly stderr: string; readonly stdout: string },
  status: number,
  lines: ReadonlyArray<string | RegExp>,
  waiting = "nobody waits for it"
) => {
  assert.strictEqual(ended.status, status, JSON.stringify(ended))
  assert.strictEqual(ended.stderr, "")
  const told = ended.stdout.split("\n")
  assert.strictEqual(told.length, lines.length + 2, ended.stdout)
  for (const [i, line] of lines.entries()) {
    if (typeof line === "string") assert.strictEqual(told[i], line)
    else assert.match(told[i]!, line)
  }
  assert.deepStrictEqual(told.slice(-2), [waiting, ""])
}

/** For longer than a busy machine takes. */
const mine = ["--id", "me", "--ttl", "10m"]

layer(Layer.mergeAll(Server.layer, NodeServices.layer), { excludeTestServices: true, concurrent: true })(
  "dlm",
  (it) => {
    it.effect("lock, test, unlock", () =>
      Effect.gen(function*() {
        const { dlm } = yield* Server
        assertPrints(yield* dlm(["lock", "a", ...mine]), "locked\n")
        assertTells(yield* dlm(["test", "a", "--id", "me"]), 0, ["locked by this id", holding("held")])
        // On standard output alone: that it is held is the answer, and no failure.
        assertTells(yield* dlm(["test", "a", "--id", "you"]), 75, [holding("held")])
        assertFails(
          yield* dlm(["lock", "a", "--id", "you"]),
          75,
          /Lock "a": held by another since 20\S+Z, ends in (10m|9m \d+s) unless it is renewed\. Wait for/
        )
        assertFails(yield* dlm(["unlock", "a", "--id", "you"]), 75, /Unlock "a": held by another since /)
        assertPrints(yield* dlm(["unlock", "a", "--id", "me"]), "unlocked\n")
        assertPrints(yield* dlm(["unlock", "a", "--id", "me"]), "unlocked: nothing was held\n")
        assertPrints(yield* dlm(["lock", "a", ...mine, "--label", "ada"]), "locked\n")
        assertFails(
          yield* dlm(["lock", "a", "--id", "you"]),
          75,
          /Lock "a": held by "ada" since 20\S+Z, ends in [\dms ]+ unless it is renewed\. Wait for/
        )
        assertTells(yield* dlm(["test", "a", "--id", "you"]), 75, [holding("held by \"ada\"")])
        assertPrints(yield* dlm(["unlock", "a", "--id", "me"]), "unlocked\n")
        assertPrints(yield* dlm(["test", "a", "--id", "me"]), "free\n")
      }), 120_000)

    it.effect("test tells how many wait, and all holders", () =>
      Effect.gen(function*() {
        const { dlm, port } = yield* Server
        const client = yield* Tcp.client(port)
        const ask = (Seq: string, ID: string, fields: Partial<Protocol.Request>) =>
          client.send({ Seq, ID, FileName: "w", Action: "Lock", Expire: 600, Limit: "3", ...fields })
        yield* ask("1", "a", { Label: "one\n\u001b[31m", Weight: "2" })
        yield* ask("2", "b", { Label: "two" })
        yield* client.take(2)
        yield* ask("3", "c", { Wait: 300_000 })
        yield* ask("4", "d", { Wait: 300_000 })
        // Whoever waits is heard every five seconds.
        yield* Effect.forkScoped(
          Effect.forever(Effect.delay(ask("6", "", { Action: "Version" }), "3 seconds"))
        )
        // Only once they wait, which this is answered after.
        yield* ask("5", "", { Action: "Describe" })
        yield* client.next
        const [first, second] = [
          holding("held by \"one\\n\\u001b[31m\"", ", weight 2"),
          holding("held by \"two\"", ", weight 1")
        ]
        assertTells(
          yield* dlm(["test", "w", "--id", "b"]),
          0,
          ["locked by this id", "limit 3", first, second],
          "2 wait for it"
        )
        assertTells(
          yield* dlm(["test", "w", "--id", "you"]),
          75,
          ["limit 3", first, second],
          "2 wait for it"
        )
        const told = yield* dlm(["test", "w", "--id", "you", "--json"])
        assert.deepStrictEqual([told.status, told.stderr], [75, ""])
        const { error, holders, limit, message, waiting } = JSON.parse(told.stdout)
        assert.deepStrictEqual([error, limit, waiting, holders.length], ["NotOwner", 3, 2, 2])
        assert.match(
          message,
          /^TestLock "w": held by "one\\n\\u001b\[31m" since 20\S+Z, ends in [\dms ]+ unless it is renewed, and by 1 other, and 2 wait for it\. Wait for/
        )
        assert.strictEqual(holders[1].label, "two")
        assert.strictEqual(holders[0].weight, 2)
        assert.match(holders[0].since, /^20\S+Z$/)
        assert.match(holders[0].fence, /^\d+$/)
        assert.isAtMost(holders[0].expiresIn, 600_000)
        const mine = JSON.parse((yield* dlm(["test", "w", "--id", "b", "--json"])).stdout)
        assert.deepStrictEqual([mine.status, mine.name, mine.holders.length, mine.waiting], ["locked", "w", 2, 2])
      }), 120_000)

    it.effect("test tells what a server without describe tells", () =>
      Effect.gen(function*() {
        const { dlm } = yield* Server
        const holders: Protocol.Response = {
          Status: "NotOwner",
          Holder: { Label: "ada", Since: "0", ExpiresIn: "60000" },
          Waiting: "1"
        }
        const answers: ReadonlyArray<readonly [Protocol.Response, number, string]> = [
          [{ Status: "NotOwner" }, 75, "held\n"],
          [
            holders,
            75,
            "held by \"ada\" since 1970-01-01T00:00:00.000Z, ends in 1m unless it is renewed\n1 waits for it\n"
          ],
          [{ Status: "Locked", ID: "me" }, 0, "locked by this id\n"]
        ]
        for (const [answer, status, stdout] of answers) {
          const server = yield* Tcp.server({ onRequest: Tcp.asReference(() => answer) })
          const ended = yield* dlm(["test", "a", "--id", "me", "--port", String(server.port)])
          assert.deepStrictEqual([ended.status, ended.stdout, ended.stderr], [status, stdout, ""])
        }
      }), 120_000)

    it.effect("lock, test, unlock --json", () =>
      Effect.gen(function*() {
        const { dlm } = yield* Server
        const lines = (value: object) => JSON.stringify(value) + "\n"
        assertPrints(
          yield* dlm(["lock", "b", ...mine, "--json"]),
          lines({ status: "locked", name: "b", id: "me" })
        )
        assertFailsJson(yield* dlm(["lock", "b", "--id", "you", "--json"]), 75, "NotOwner")
        assertPrints(
          yield* dlm(["unlock", "b", "--id", "me", "--json"]),
          lines({ status: "unlocked", name: "b", released: true })
        )
        assertPrints(
          yield* dlm(["unlock", "b", "--id", "me", "--json"]),
          lines({ status: "unlocked", name: "b", released: false })
        )
        assertPrints(yield* dlm(["test", "b", "--id", "me", "--json"]), lines({ status: "free", name: "b" }))
      }), 120_000)

    it.effect("put, get, erase", () =>
      Effect.gen(function*() {
        const { dlm } = yield* Server
        assertFails(yield* dlm(["get", "c", "--id", "me"]), 66, /Get "c": there is nothing of that name/)
        assertFails(yield* dlm(["erase", "c", "--id", "me"]), 66, /Erase "c": there is nothing of that name/)
        assertPrints(yield* dlm(["put", "c", "some text", ...mine]), "done\n")
        assertPrints(yield* dlm(["get", "c", "--id", "me"]), "some text")
        assertFails(yield* dlm(["get", "c", "--id", "you"]), 75, /Get "c": held by another since /)
        assertPrints(yield* dlm(["erase", "c", "--id", "me"]), "erased\n")
        assertPrints(yield* dlm(["lock", "c", ...mine]), "locked\n")
        assertFails(yield* dlm(["get", "c", "--id", "me"]), 66, /the lock holds no data/)
      }), 120_000)

    it.effect("put, get, erase --json", () =>
      Effect.gen(function*() {
        const { dlm } = yield* Server
        assertPrints(yield* dlm(["put", "d", "ü", ...mine, "--json"]), "{\"status\":\"done\",\"name\":\"d\"}\n")
        assertPrints(
          yield* dlm(["get", "d", "--id", "me", "--json"]),
          "{\"status\":\"done\",\"name\":\"d\",\"data\":\"ü\"}\n"
        )
        assertPrints(yield* dlm(["erase", "d", "--id", "me", "--json"]), "{\"status\":\"done\",\"name\":\"d\"}\n")
        assertFailsJson(yield* dlm(["erase", "d", "--id", "me", "--json"]), 66, "NotFound")
      }), 120_000)

    it.effect("put NAME - keeps standard input as it is", () =>
      Effect.gen(function*() {
        const { dlm } = yield* Server
        for (const stdin of ["", "\ufeffone\ntwo äöü\r\n\n\t€ 😀 \0\n"]) {
          assertPrints(yield* dlm(["put", "e", "-", ...mine], { stdin }), "done\n")
          assertPrints(yield* dlm(["get", "e", "--id", "me"]), stdin)
        }
        const binary = yield* dlm(["put", "e", "-", "--id", "me"], { stdin: Uint8Array.of(97, 255) })
        assertFails(binary, 65, /standard input is not UTF-8 text/)
      }), 120_000)

    it.effect("takes what begins with a dash after --", () =>
      Effect.gen(function*() {
        const { dlm } = yield* Server
        assertPrints(yield* dlm(["put", ...mine, "--", "-f", "--help"]), "done\n")
        assertPrints(yield* dlm(["get", "--id", "me", "--", "-f"]), "--help")
      }))

    it.effect("ends with 77 where the server refuses", () =>
      Effect.gen(function*() {
        const { dlm } = yield* Server
        assertFails(yield* dlm(["lock", "f", "--id", "me", "--ttl", "2h"]), 77, /refused \(BadPayload\).*time to live/)
        const long = yield* dlm(["put", "f", "-", "--id", "me"], { stdin: "x".repeat(10_000) })
        assertFails(long, 77, /refused \(BadPayload\).*size of the data/)
      }))

    it.effect("takes any number as a time to live", () =>
      Effect.gen(function*() {
        const { dlm } = yield* Server
        assertPrints(yield* dlm(["lock", "g", "--id", "me", "--ttl", "0.0000001s"]), "locked\n")
        assertFails(yield* dlm(["lock", "g", "--id", "me", "--ttl", "9".repeat(30) + "d"]), 77, /refused/)
        assertFails(yield* dlm(["lock", "g", "--id", "me", "--ttl", "9".repeat(400)]), 64, /ttl must be.*finite/)
      }))

    it.effect("version", () =>
      Effect.gen(function*() {
        const { dlm } = yield* Server
        const plain = yield* dlm(["version"])
        assert.match(plain.stdout, /^JackrabbitDLM\/\S+ \(server\), effect-dlm\/\S+ \(client\)\n$/)
        const { client, server } = JSON.parse((yield* dlm(["version", "--json"])).stdout)
        assert.strictEqual(plain.stdout, `${server} (server), ${client} (client)\n`)
      }))

    it.effect("finds the server by DLM_HOST and DLM_PORT, and flags win over them", () =>
      Effect.gen(function*() {
        const { dlm, port } = yield* Server
        const args = ["test", "h", "--id", "me"]
        const closed = String(yield* closedPort)
        // No name is as long, so nothing is asked of a name server.
        const env = { DLM_HOST: "h".repeat(300) }
        assertFails(yield* dlm(args, { env }), 69, /no lock server can be reached \(.*h{300}\)/)
        assertPrints(yield* dlm([...args, "--host", "127.0.0.1"], { env }), "free\n")
        assertFails(
          yield* dlm(args, { env: { DLM_PORT: closed } }),
          69,
          new RegExp(`ECONNREFUSED 127\\.0\\.0\\.1:${closed}`)
        )
        assertPrints(yield* dlm([...args, "--port", String(port)], { env: { DLM_PORT: closed } }), "free\n")
        for (const DLM_PORT of ["dlm", "65536", "0"]) {
          const wrong = new RegExp(
            `variable DLM_PORT: "${DLM_PORT}"\\. Expected a whole number from 1 to 65535\\. Correct it`
          )
          assertFails(yield* dlm(args, { env: { DLM_PORT } }), 64, wrong)
        }
      }), 120_000)
  }
)

describe("dlm identity", () => {
  it.live("makes a file for its owner only, that allows a longer time to live", () =>
    Effect.gen(function*() {
      const fs = yield* FileSystem.FileSystem
      const at = `${yield* folder}/new/identities`
      assertPrints(yield* dlm(["identity", "bob", "--identities", at]), `made ${at}/bob.cfg\n`)
      const file = `${at}/al-1_X.cfg`
      const made = yield* dlm(["identity", "al-1_X", "--identities", at, "--max-size", "50000", "--json"])
      assertPrints(made, JSON.stringify({ file }) + "\n")
      assert.strictEqual((yield* fs.stat(file)).mode & 0o777, 0o600)
      assert.strictEqual((yield* fs.stat(at)).mode & 0o777, 0o700)
      assertFails(yield* dlm(["identity", "bob", "--identities", at]), 64, /bob\.cfg.*exists already/)
      assertFailsJson(yield* dlm(["identity", "../x", "--identities", at, "--json"]), 64, "IdentityError")

      const server = yield* serve("--identities", at)
      const lock = ["lock", "a", "--id", "me", "--ttl", "2h"]
      assertFails(yield* server.dlm(lock), 77, /refused/)
      assertPrints(yield* server.dlm([...lock, "--identity", file]), "locked\n")
      const long = "x".repeat(20_000)
      assertPrints(
        yield* server.dlm(["put", "b", "-", "--id", "me", "--identity", file], { stdin: long }),
        "done\n"
      )
      assertPrints(
        yield* server.dlm(["run", "c", "--ttl", "2h", "--identity", file, "--", "echo", "ran"]),
        "ran\n"
      )
      // Another's name to one's own secret.
      yield* fs.rename(`${at}/bob.cfg`, file)
      assertFails(yield* server.dlm([...lock, "--identity", file]), 77, /refused/)
      assertFails(yield* server.dlm(["run", "c", "--identity", file, "--", "echo", "ran"]), 77, /refused/)
    }).pipe(Effect.provide(NodeServices.layer)), 120_000)
})

describe.concurrent("dlm, used wrongly", () => {
  const here = import.meta.dirname
  const me = ["a", "--id", "me"]
  const uses: ReadonlyArray<readonly [ReadonlyArray<string>, RegExp]> = [
    [["lok"], /Unknown subcommand "lok" for "dlm"\. Did you mean .*lock.*\. See: dlm --help/],
    [["lock"], /Missing required argument: name\. See: dlm lock --help/],
    [["lock", "a"], /Missing required flag: --id\. See: dlm lock --help/],
    [["lock", "a", "--id", ""], /--id\. Expected at least one character/],
    [["lock", "", "--id", "me"], /<name>: ""\. Expected at least one character/],
    [["lock", ...me, "b"], /Unexpected positional argument: "b"/],
    [["lock", ...me, "--til", "5s"], /Unrecognized flag: --til in command dlm lock\. Did you mean this\? --ttl/],
    [["lock", ...me, "--ttl", "5 parsecs"], /--ttl: "5 parsecs"\. Expected a duration such as 500ms, 30s, 5m or 1h/],
    [["lock", ...me, "--ttl", "0"], /ttl must be greater than zero/],
    [["test", ...me, "--port", "99999"], /--port: "99999"\. Expected a value between 0 and 65535/],
    [["unlock", ...me, "--port", "http"], /--port: "http"\. Expected/],
    [["put", ...me], /Missing required argument: data/],
    [["get", ...me, "--identity", here], /--identity: .*is not a file/],
    [
      ["get", ...me, "--identity", `${here}/none.cfg`],
      /--identity: ".*none\.cfg" does not exist\. dlm identity NAME makes one\. See: dlm get --help/
    ],
    [["get", ...me, "--tls-ca", `${here}/none.pem`], /--tls-ca: .*does not exist\. Name a file that is there/],
    [["erase", ...me, "--identity", import.meta.filename], /the identity in .* cannot be used: it is no identity file/],
    [["version", "--id", "me"], /Unrecognized flag: --id/],
    [["identity", "a b"], /a name has 1 to 64 of the characters A-Z a-z 0-9 _ -/],
    [["identity", "a", "--max-size", "big"], /--max-size: "big"\. Expected a whole number\. See: dlm identity --help/],
    [["identity", "a", "--max-size", "-1"], /--max-size: "-1"\. Expected a value greater than or equal to 0/],
    [["identity", "a", "--identities", import.meta.filename], /--identities: .*is not a directory/],
    [
      ["elect", "a", "--wait", "5s", "--", "true"],
      /dlm elect has no --wait: it campaigns until it leads.*dlm run NAME --wait/
    ]
  ]
  for (const [args, why] of uses) {
    it.live(`dlm ${args.join(" ").replaceAll(here, ".")}`, () =>
      Effect.map(dlm(args), (ended) => assertFails(ended, 64, why)))
  }
})

describe.concurrent("dlm, with a variable that cannot be used", () => {
  const lock = ["lock", "a", "--id", "me"]
  const ofKubernetes =
    /variable DLM_PORT: "tcp:\/\/10\.0\.0\.1:37373"\..*Kubernetes.*Service named dlm: rename.*enableServiceLinks: false/
  const uses: ReadonlyArray<readonly [ReadonlyArray<string>, string, string, RegExp]> = [
    [lock, "DLM_PORT", "tcp://10.0.0.1:37373", ofKubernetes],
    [["run", "a", "--", "true"], "DLM_PORT", "tcp://10.0.0.1:37373", ofKubernetes],
    [["serve"], "DLM_PORT", "tcp://10.0.0.1:37373", ofKubernetes],
    [
      ["serve", "--port", "0"],
      "DLM_MAX_WAITING",
      "no",
      /: "no"\. Expected a whole number\..* or give --max-waiting\. See:/
    ],
    [lock, "DLM_TTL", "long", /: "long"\. Expected a duration such as 500ms.* or give --ttl\. See: dlm lock --help/],
    [lock, "DLM_TLS", "perhaps", /: "perhaps"\. Expected true or false\. Correct it, or unset it/],
    [["serve", "--port", "0"], "DLM_INSECURE", "perhaps", /: "perhaps"\. Expected true or false\..*--insecure/],
    [lock, "DLM_IDENTITY_NAME", "bob", /variable DLM_IDENTITY_SECRET\. .* Set it with DLM_IDENTITY_NAME, or neither/]
  ]
  for (const [args, name, value, why] of uses) {
    it.live(`${name}=${value} dlm ${args.join(" ")}`, () =>
      Effect.gen(function*() {
        const ended = yield* dlm(args, { env: { [name]: value } })
        assertFails(ended, 64, why)
        assert.match(ended.stderr, /^dlm: Invalid value for variable [^\n]+\n$/)
      }))
  }
})

describe.concurrent("dlm, asked about itself", () => {
  const commands = ["serve", "run", "lock", "unlock", "test", "put", "get", "erase", "version", "identity"]

  it.live("--help", () =>
    Effect.gen(function*() {
      const { status, stderr, stdout } = yield* dlm(["--help"])
      assert.deepStrictEqual([status, stderr], [0, ""])
      for (const command of commands) assert.match(stdout, new RegExp(`^ +${command} +\\w`, "m"))
      assertPrints(yield* dlm([]), stdout)
      const run = yield* dlm(["run", "--help"])
      assert.strictEqual(run.status, 0)
      for (
        const part of [
          "dlm run [flags] <name> <command...>",
          "--ttl",
          "--wait",
          "--host",
          "--port",
          "--identity",
          "--label"
        ]
      ) {
        assert.include(run.stdout, part)
      }
    }))

  it.live("--version", () =>
    Effect.map(dlm(["--version"]), (ended) => assert.match(ended.stdout, /^dlm v\d+\.\d+\.\d+\n$/)))

  it.live("--completions", () =>
    Effect.gen(function*() {
      const { status, stderr, stdout } = yield* dlm(["--completions", "bash"])
      assert.deepStrictEqual([status, stderr], [0, ""])
      for (const word of [...commands, "--wait", "--max-size"]) assert.include(stdout, word)
      assertFails(yield* dlm(["--completions", "cmd"]), 64, /--completions: "cmd"\. Expected: "bash"/)
    }))
})
