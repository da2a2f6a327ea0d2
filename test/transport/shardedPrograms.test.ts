/**
 * Random programs of requests over random lists of servers, which go down and come back: each name has one server for all
 * clients, however they list the servers, and is never asked of another.
 */
import { assert, describe, it } from "@effect/vitest"
import { Effect, Schema } from "effect"
import { DlmError, Talker } from "effect-dlm"
import { type Protocol } from "effect-dlm/protocol"
import { MockTalker } from "effect-dlm/testing"

const Index = Schema.Int.check(Schema.isBetween({ minimum: 0, maximum: 99 }))

const Step = Schema.Union([
  Schema.Struct({
    _tag: Schema.tag("Ask"),
    client: Index,
    // Of few names each is asked for often, and any text may be one. Version of no name is any server's.
    name: Schema.Union([Index, Schema.NonEmptyString]),
    action: Schema.Literals(["Lock", "Unlock", "Get", "Version"])
  }),
  Schema.Struct({ _tag: Schema.tag("Down"), server: Index }),
  Schema.Struct({ _tag: Schema.tag("Up"), server: Index })
])

const Program = Schema.Struct({
  servers: Schema.Int.check(Schema.isBetween({ minimum: 1, maximum: 8 })),
  steps: Schema.Array(Step).check(Schema.isMinLength(1), Schema.isMaxLength(60))
})

/** Servers that can be down, and what reached them. */
const world = (count: number) => {
  const down = new Set<string>()
  const asked: Array<readonly [server: string, name: string]> = []
  const servers = Array.from({ length: count }, (_, i) => `locks-${i}`)
  const talker = (server: string) =>
    MockTalker.layer(({ Action, FileName, ID }) => {
      // Where nobody listens nothing is asked.
      if (down.has(server)) {
        return Effect.fail(
          new DlmError.TransportError({ name: FileName, action: Action, phase: "OpenFailed" })
        )
      }
      asked.push([server, FileName])
      return Effect.succeed(Action === "Version" ? { Status: "Version", ID: server } : { Status: "Locked", ID })
    })
  const client = (list: ReadonlyArray<string>) =>
    Talker.makeSharded(list.map((name) => ({ name, talker: talker(name) })))
  // Two programs that list them the other way round, and one that begins elsewhere.
  const clients = Effect.all([
    client(servers),
    client(servers.toReversed()),
    client([...servers.slice(1), ...servers.slice(0, 1)])
  ])
  return { asked, clients, down, servers }
}

const runs = Effect.fnUntraced(function*({ servers: count, steps }: typeof Program.Type) {
  const { asked, clients, down, servers } = world(count)
  const talkers = yield* clients
  const homes = new Map<string, string>()
  const serverAt = (at: number) => servers[at % count]!
  for (const step of steps) {
    if (step._tag !== "Ask") {
      if (step._tag === "Down") down.add(serverAt(step.server))
      else down.delete(serverAt(step.server))
      continue
    }
    const name = typeof step.name === "number" ? `order/${step.name % 10}` : step.name
    const request: Protocol.Request = { ID: "me", FileName: name, Action: step.action, Expire: 30 }
    const { talk } = talkers[step.client % talkers.length]!
    const before = asked.length
    const result = yield* Effect.result(talk(request))
    const reached = asked.slice(before)
    if (result._tag === "Failure") {
      assert.strictEqual(result.failure._tag, "TransportError")
      assert.deepStrictEqual(reached, [], "what fails has reached nobody")
      // It is down, and no other is: that one would have to be its server for all.
      const home = homes.get(name)
      if (home === undefined) assert.isAbove(down.size, 0)
      else assert.isTrue(down.has(home), `${name} of ${home}, which is there`)
      continue
    }
    assert.strictEqual(reached.length, 1)
    const [server, asking] = reached[0]!
    assert.strictEqual(asking, name)
    assert.strictEqual(homes.get(name) ?? server, server, `${name} has two servers`)
    homes.set(name, server)
  }
  // All are back, and each name is where it was.
  down.clear()
  for (const [name, home] of homes) {
    for (const { talk } of talkers) {
      asked.length = 0
      yield* talk({ ID: "me", FileName: name, Action: "Lock", Expire: 30 })
      assert.deepStrictEqual(asked, [[home, name]])
    }
  }
}, Effect.scoped)

describe("random programs over servers with a share of the names each", () => {
  it.effect.prop(
    "ask for a name at one server, and one that is down takes its own names alone",
    [Program],
    ([program]) => runs(program),
    { arbitrary: { runs: 300 } }
  )
})
