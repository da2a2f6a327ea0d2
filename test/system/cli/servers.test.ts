/**
 * Names spread over several servers, each a process of its own.
 */
import { assert, describe, it } from "@effect/vitest"
import { ConfigProvider, Context, Deferred, Effect, Fiber, Layer } from "effect"
import { Lease, Talker } from "effect-dlm"
import { NodeTalker } from "effect-dlm/node"
import { Protocol } from "effect-dlm/protocol"
import { dlm, serve, startDlm } from "./processes.ts"

const timeout = 60_000
const shards = new Protocol.Shards(["a", "b"])

const namesOf = (server: string) =>
  Array.from({ length: 40 }, (_, i) => `order/${i}`).filter((name) => shards.of(name) === server)

/** Two servers, and a Talker to both. */
const both = Effect.gen(function*() {
  const [a, b] = yield* Effect.all([
    serve("--shard", "a", "--shards", "a,b"),
    serve("--shard", "b", "--shards", "b,a")
  ], { concurrency: 2 })
  const text = `a=127.0.0.1:${a.port},b=127.0.0.1:${b.port}`
  const talker = NodeTalker.layerConfig.pipe(
    Layer.provide(ConfigProvider.layer(ConfigProvider.fromEnv({ env: { DLM_SERVERS: text } })))
  )
  return { a, b, text, context: yield* Layer.build(talker) }
})

/** Asks by servers that a test names. */
const versionOf = (servers: Record<string, { readonly port: number }>, FileName = "") =>
  Effect.scoped(Effect.flatMap(
    Layer.build(NodeTalker.layerSharded({ servers })),
    (context) =>
      Effect.flip(Context.get(context, Talker.Talker).talk({ ID: "me", FileName, Action: "Lock", Expire: 30 }))
  ))

describe("two servers", () => {
  it.live(
    "have their own names each; the one that is killed takes its names with it, and no others",
    () =>
      Effect.gen(function*() {
        const { a, context, text } = yield* both
        const [ofA, ofB] = [namesOf("a"), namesOf("b")]
        yield* Effect.gen(function*() {
          const held = yield* Deferred.make<void>()
          const letGo = yield* Deferred.make<void>()
          const kept = yield* Effect.forkChild(
            Lease.withLock(Effect.andThen(Deferred.succeed(held, undefined), Deferred.await(letGo)), ofB[0]!)
          )
          yield* Deferred.await(held)
          // Another process finds it at the same server.
          const taken = yield* dlm(["test", ofB[0]!], { env: { DLM_SERVERS: text } })
          assert.strictEqual(taken.status, 75)
          for (const name of [...ofA.slice(0, 3), ...ofB.slice(1, 4)]) yield* Lease.withLock(Effect.void, name)

          yield* a.process.signal("SIGKILL")
          yield* a.process.ended
          for (const name of ofA.slice(0, 2)) {
            const error = yield* Effect.flip(Lease.withLock(Effect.void, name, { wait: 0 }))
            assert(error._tag === "LockUnavailable")
            assert.strictEqual(error.reason._tag, "TransportError")
          }
          for (const name of ofB.slice(1, 4)) yield* Lease.withLock(Effect.void, name, { wait: 0 })
          assert.isUndefined(kept.pollUnsafe())
          yield* Deferred.succeed(letGo, undefined)
          yield* Fiber.join(kept)
        }).pipe(Effect.provideContext(context))
      }).pipe(Effect.scoped),
    timeout
  )

  it.live(
    "refuse a client with another list, with their addresses the wrong way round, or with none",
    () =>
      Effect.gen(function*() {
        const { a, b } = yield* both
        const plain = yield* serve()
        const [name] = namesOf("b")
        const mine = (server: string, of = ["a", "b"]) => new Protocol.Shards(of).textOf(server)
        for (
          const [servers, meant, server] of [
            [{ a: b, b: a }, mine("b"), mine("a")],
            [{ b, a, c: plain }, undefined, undefined],
            [{ b }, mine("b", ["b"]), mine("b")],
            [{ a: plain, b: plain }, mine("b"), undefined]
          ] as const
        ) {
          const error = yield* versionOf(
            Object.fromEntries(Object.entries(servers).map(([name, { port }]) => [name, { port }])),
            name
          )
          assert(error._tag === "WrongShard")
          if (meant !== undefined) assert.deepStrictEqual([error.meant, error.server], [meant, server])
        }
        // A client that knows this server alone is refused the names of the other.
        const lock = (name: string) => a.dlm(["lock", name, "--id", "me"])
        assert.strictEqual((yield* lock(namesOf("a")[0]!)).status, 0)
        assert.strictEqual((yield* lock(name!)).status, 77)
      }).pipe(Effect.scoped),
    timeout
  )
})

describe("the command", () => {
  it.live("runs with several servers, and tells its command of them", () =>
    Effect.gen(function*() {
      const { a, text } = yield* both
      const [ofA, ofB] = [namesOf("a")[0]!, namesOf("b")[0]!]
      const show = ["--", "sh", "-c", "printf '%s' \"$DLM_SERVERS\""]
      const byVariable = yield* dlm(["run", ofA, ofB, ...show], { env: { DLM_SERVERS: text } })
      assert.deepStrictEqual([byVariable.status, byVariable.stdout], [0, text])
      const byFlag = yield* dlm(["run", ofB, "--servers", text, ...show], { env: { DLM_PORT: "1" } })
      assert.deepStrictEqual([byFlag.status, byFlag.stdout], [0, text])
      const one = yield* dlm(["run", ofA, "--port", String(a.port), ...show], { env: { DLM_SERVERS: text } })
      assert.deepStrictEqual([one.status, one.stdout], [0, ""])
      const swapped = yield* dlm(["test", ofA, "--servers", text.replace("a=", "x=")])
      assert.strictEqual(swapped.status, 76)
    }).pipe(Effect.scoped), timeout)

  it.live("serves a share of the names only where it knows which, and of how many", () =>
    Effect.gen(function*() {
      for (
        const [args, env, problem] of [
          [["--shard", "a"], {}, /give both/],
          [[], { DLM_SHARDS: "a,b" }, /give both/],
          [["--shard", "c", "--shards", "a,b"], {}, /does not have "c"/],
          [["--shards", "a,a"], { DLM_SHARD: "a" }, /"a" twice/]
        ] as const
      ) {
        const { status, stderr } = yield* dlm(["serve", "--port", "0", ...args], { env })
        assert.strictEqual(status, 64)
        assert.match(stderr, problem)
      }
      const server = yield* startDlm(["serve", "--port", "0"], { env: { DLM_SHARD: "a", DLM_SHARDS: "b,a" } })
      const [, said] = yield* server.prints(/has the share of (\S+)/)
      assert.strictEqual(said, shards.textOf("a"))
    }).pipe(Effect.scoped), timeout)
})
