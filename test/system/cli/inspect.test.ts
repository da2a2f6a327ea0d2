/**
 * What an operator asks by the command, of a real server.
 */
import { assert, describe, it } from "@effect/vitest"
import { Effect, Fiber, Stream } from "effect"
import { Inspection, Lease, Locker } from "effect-dlm"
import { NodeTalker } from "effect-dlm/node"
import * as fs from "node:fs"
import * as path from "node:path"
import { temporaryFolder } from "../../support/programs.ts"
import { assertFails, assertPrints, dlm, startDlm } from "./processes.ts"

/** A server with an admin and somebody else. */
const prepared = Effect.gen(function*() {
  const identities = path.join(yield* temporaryFolder("inspect"), "identities")
  yield* dlm(["identity", "root", "--admin", "--identities", identities])
  yield* dlm(["identity", "user", "--identities", identities])
  const serving = yield* startDlm(["serve", "--port", "0", "--identities", identities])
  const port = Number((yield* serving.prints(/listening on 127\.0\.0\.1:(\d+)/))[1])
  const asked = (args: ReadonlyArray<string>) => dlm([args[0]!, "--port", String(port), ...args.slice(1)])
  return { asked, port, serving, root: path.join(identities, "root.cfg"), user: path.join(identities, "user.cfg") }
})

describe("dlm", () => {
  it.live("ls, show, watch and revoke", () =>
    Effect.gen(function*() {
      const { asked, port, root, serving, user } = yield* prepared
      for (const name of ["a/1", "a/2", "b"]) {
        yield* asked(["lock", name, "--id", "me", "--label", "ada", "--ttl", "10m"])
      }
      const listed = yield* asked(["ls", "a/"])
      assert.match(
        listed.stdout,
        /^"a\/1": held by "ada" since 20\S+Z, ends in [\dms ]+ unless it is renewed\n"a\/2": .*\n$/
      )
      const all = (yield* asked(["ls", "--json"])).stdout.trim().split("\n").map((line) => JSON.parse(line))
      assert.deepStrictEqual(all.map(({ held, label, name }) => [name, held, label]), [
        ["a/1", 1, "ada"],
        ["a/2", 1, "ada"],
        ["b", 1, "ada"]
      ])
      assertPrints(yield* asked(["ls", "c"]), "")
      const watching = yield* startDlm(["watch", "b", "--port", String(port)])
      yield* watching.prints(/Z\nheld by "ada".*\nnobody waits for it\n/)
      const waiting = yield* startDlm([
        "lock",
        "b",
        "--port",
        String(port),
        "--id",
        "x",
        "--label",
        "bob",
        "--wait",
        "1m"
      ])
      yield* watching.prints(/1 waits for it\n1\. "bob" waits since 20\S+Z\n/)
      const { fence } = JSON.parse((yield* asked(["show", "b", "--json"])).stdout).holders[0]
      assertFails(yield* asked(["revoke", "b", "--reason", "why not"]), 77, /Revoke "b"/)
      assertFails(yield* asked(["revoke", "b", "--reason", "why not", "--identity", user]), 77, /Revoke "b"/)
      const by = ["--reason", "the machine is gone", "--identity", root]
      assertFails(yield* asked(["revoke", "b", "--fence", String(BigInt(fence) + 1n), ...by]), 66, /"b"/)
      assertPrints(
        yield* asked(["revoke", "b", "--fence", fence, ...by]),
        "revoked 1 tenure: the name stays taken until its end\n"
      )
      yield* watching.prints(/revoked: "the machine is gone"/)
      assert.match((yield* asked(["show", "b"])).stdout, /ends in [\dms ]+, revoked: "the machine is gone"\n1 waits/)
      assertPrints(yield* asked(["revoke", "b", "--force", ...by]), "revoked 1 tenure: the name is free\n")
      assertPrints(yield* waiting.ended, "locked\n")
      // The proof of who may is in no line of any log.
      const { Identity } = JSON.parse(fs.readFileSync(root, "utf8"))
      yield* serving.complains(/root revoked the tenure \d+ of "b" by force: "the machine is gone"/)
      yield* serving.complains(/somebody without an identity asked to revoke "b", and may not: refused \(1 since/)
      yield* serving.signal("SIGTERM")
      assert.notInclude((yield* serving.ended).stderr, Identity.slice(0, 100))
    }).pipe(Effect.scoped), 120_000)

  it.live("revoke tells the holder at once, over its connection", () =>
    Effect.gen(function*() {
      const { asked, port, root } = yield* prepared
      for (const wire of ["lines", "frames"] as const) {
        const talker = NodeTalker.layer({ host: "127.0.0.1", port, wire })
        yield* Effect.gen(function*() {
          // With so long a time to live it would not ask the server for a while.
          const holding = yield* Effect.forkChild(
            Effect.flip(Effect.never.pipe(Lease.withLock("f", { ttl: "10 minutes" })))
          )
          yield* Stream.runHead(Stream.filter(Inspection.watch("f"), ({ holders }) => holders.length > 0))
          // A connection of its own, which holds something else and is told as well.
          const other = yield* (yield* Locker.make("g")).acquire()
          yield* asked(["revoke", "f", "--reason", "why not", "--identity", root])
          const loss = yield* Fiber.join(holding)
          assert.strictEqual(loss._tag === "LeaseLost" && loss.reason._tag, "Revoked")
          assert.strictEqual(yield* other.state, "Held")
        }).pipe(Effect.scoped, Effect.provide(talker))
      }
    }).pipe(Effect.scoped), 60_000)
})
