/**
 * Many owners who take some of a few names, at two servers over one store, one of which is lost now and then. What they
 * asked and were answered is a history, and is judged as any.
 */
import { assert } from "@effect/vitest"
import { Context, Deferred, Effect, Exit, Layer, Option, Scope, Stream } from "effect"
import type { Protocol } from "effect-dlm/protocol"
import { Identities, LockServer, Store } from "effect-dlm/server"
import { type Counts, countsOf } from "../../support/history/counts.ts"
import { History } from "../../support/history/History.ts"
import * as Invariants from "../../support/history/invariants.ts"
import { type Asker, claimOf, fenceOf, type Limited, lockOf, program, requestOf, whole } from "../../support/permits.ts"
import { Seeded } from "../../support/random.ts"

export interface Plan {
  /** A store of its own connections. */
  readonly store: Layer.Layer<Store.Store, unknown>
  /** How many requests are answered, at the least. */
  readonly operations: number
  /** How many owners ask at a time. */
  readonly owners: number
  /** Times to live, in milliseconds: those who leave without giving back have the shortest. */
  readonly ttls: readonly [short: number, long: number]
  /** How much longer than its time to live a holder may be there. */
  readonly lasts: number
  /** Whether what comes to a server first is decided first, so that its queue can be judged by that. */
  readonly isAtOnce?: boolean
}

export interface Outcome extends Counts {
  readonly operations: number
  readonly seconds: number
  readonly crashes: number
}

/** How often a server is lost. */
const crashes = 4

/** What is in no hurry: a request that was on its way when its server was lost may come within this time. */
const late = 5000

/** The names: what others hold and wait for is held by a few. */
const limited: ReadonlyArray<Limited> = [3, 5, 8, "shared", 2, 16, "shared", 4, 1, 6, "shared", 10]
  .map((limit, i) => ({ name: `load/${i}`, limit: limit as Limited["limit"] }))

/** Names for which nobody waits: what is refused there is refused since no more fits. */
const impatient = new Set(limited.flatMap(({ name }, i) => i % 3 === 0 ? [name] : []))

/** The store in memory, as one that other servers change too. */
export const sharedMemory: Layer.Layer<Store.Store> = Layer.effect(
  Store.Store,
  Effect.map(
    Store.makeMemory(),
    ({ modify }) => Store.Store.of({ modify, sharing: { freed: Stream.never, poll: "20 millis", inOrder: true } })
  )
)

/** A server that can be lost, with all that is asked of it, and begun again. */
class Server {
  private scope = Scope.makeUnsafe()
  private lost = Deferred.makeUnsafe<never>()
  private lockServer: LockServer.LockServer["Service"] | undefined
  private readonly store: Plan["store"]
  number = 0

  constructor(store: Plan["store"]) {
    this.store = store
  }

  readonly start = Effect.suspend(() => {
    this.scope = Scope.makeUnsafe()
    this.lost = Deferred.makeUnsafe()
    this.number = ++Server.started
    const layer = Layer.fresh(LockServer.layer).pipe(Layer.provide([Layer.fresh(this.store), Identities.layerNone]))
    return Effect.map(Layer.buildWithScope(layer, this.scope), (context) => {
      this.lockServer = Context.get(context, LockServer.LockServer)
    })
  })

  readonly crash = Effect.suspend(() => {
    this.lockServer = undefined
    return Effect.andThen(Deferred.interrupt(this.lost), Scope.close(this.scope, Exit.void))
  })

  private static started = 0

  get isThere(): boolean {
    return this.lockServer !== undefined
  }

  /** Asks it; nothing where it is lost before it answers. */
  handle(request: Protocol.Request): Effect.Effect<Option.Option<Protocol.Response>> {
    const { lockServer, lost } = this
    if (lockServer === undefined) return Effect.succeedNone
    return Effect.exit(Effect.raceFirst(lockServer.handle(request), Deferred.await(lost))).pipe(
      Effect.map((exit) => Exit.isSuccess(exit) ? Option.some(exit.value) : Option.none())
    )
  }
}

/** How owners ask one of the servers, so that all is recorded. */
const askerOf = (
  plan: Plan,
  history: History,
  servers: ReadonlyArray<Server>,
  place: number,
  random: Seeded
): Asker => {
  let asked = 0
  let owners = 0
  const ask = (request: Protocol.Request) =>
    Effect.suspend(() => {
      const server = [servers[place % 2]!, servers[(place + 1) % 2]!].find(({ isThere }) => isThere)!
      const operation = history.invoke(`owner ${place}`, request)
      const visit = plan.isAtOnce === true ? history.comes(request, server.number) : undefined
      return Effect.onExit(server.handle({ ...request, Seq: String(asked++) }), (exit) =>
        Effect.sync(() => {
          const answer = Exit.isSuccess(exit) ? Option.getOrUndefined(exit.value) : undefined
          if (visit !== undefined) history.leaves(visit, answer)
          if (answer === undefined) history.noAnswer(operation, Exit.isSuccess(exit))
          else history.answer(operation, answer)
        }))
    })
  const [short] = plan.ttls
  return {
    random,
    // Busy is a server that does not know whether its store has done it.
    ask: (request) => Effect.map(ask(request), Option.filter(({ Status }) => Status !== "NO")),
    freshId: () => `${place}-${owners++}`,
    began: () => {},
    wait: ({ name }) => impatient.has(name) ? 0 : random.pick([0, 10, 30, 250]),
    pause: ({ ttl }) =>
      random.chance(0.03) ? random.between(0, ttl === short ? 2 * ttl : ttl / 2) : random.between(0, 4),
    leaves: ({ ttl }) => ttl === short && random.chance(0.15)
  }
}

/** One owner after another, until enough was asked. */
const worker = (plan: Plan, history: History, asker: Asker) =>
  Effect.gen(function*() {
    const { random } = asker
    while (history.completed < plan.operations) {
      const ttl = random.chance(0.5) ? plan.ttls[0] : plan.ttls[1]
      yield* program(asker, claimOf(random, random.pick(limited), asker.freshId(), ttl), false)
      yield* Effect.yieldNow
    }
  })

/** Loses one server after another, spread over the load. */
const losing = (plan: Plan, history: History, servers: ReadonlyArray<Server>) =>
  Effect.gen(function*() {
    for (let i = 1; i <= crashes; i++) {
      const due = plan.operations * i / (crashes + 1)
      while (history.completed < due) yield* Effect.sleep(10)
      const server = servers[i % 2]!
      yield* server.crash
      yield* server.start
    }
  })

/** When all has ended, one gets all of a name; and at once again, when that was given back. */
const isAllThere = (plan: Plan, asker: Asker, { limit, name }: Limited) =>
  Effect.gen(function*() {
    const claim = { name, limit, weight: whole(limit), ttl: 10_000 }
    const first = { ...claim, id: asker.freshId() }
    const Wait = plan.ttls[1] + plan.lasts + late
    const answer = yield* asker.ask(lockOf(first, { Wait }))
    assert.isDefined(fenceOf(answer), `not all of ${name} is there any more: ${JSON.stringify(answer)}`)
    yield* asker.ask(requestOf(first, "Unlock"))
    const second = { ...claim, id: asker.freshId() }
    const again = yield* asker.ask(lockOf(second))
    assert.isDefined(fenceOf(again), `not all of ${name} is there at once: ${JSON.stringify(again)}`)
    yield* asker.ask(requestOf(second, "Unlock"))
  })

export const run = Effect.fnUntraced(function*(plan: Plan) {
  const began = performance.now()
  const history = new History()
  const servers = [new Server(plan.store), new Server(plan.store)]
  yield* Effect.forEach(servers, ({ start }) => start)
  yield* Effect.addFinalizer(() => Effect.forEach(servers, ({ crash }) => crash))
  const seeds = new Seeded(Date.now())
  const askers = Array.from({ length: plan.owners }, (_, i) => askerOf(plan, history, servers, i, seeds.fork()))
  yield* Effect.all([
    losing(plan, history, servers),
    ...askers.map((asker) => worker(plan, history, asker))
  ], { concurrency: "unbounded", discard: true })
  yield* Effect.forEach(limited, (one, i) => isAllThere(plan, askers[i % 2]!, one), { concurrency: "unbounded" })
  const broken = Invariants.violations(history, {
    grain: 3,
    lag: 50,
    storeFails: true,
    late,
    // A server that is lost gives up no turn of those who have waited there: that ends by itself.
    settles: 3500,
    // Some stores count whole milliseconds.
    lasts: plan.lasts + 3
  })
  for (const [promise, found] of Object.entries(broken)) {
    assert.strictEqual(found.length, 0, `${promise} is broken, such as here:\n${found.slice(0, 5).join("\n")}\n`)
  }
  return {
    ...countsOf(history.operations),
    operations: history.completed,
    seconds: Math.round((performance.now() - began) / 100) / 10,
    crashes
  } satisfies Outcome
}, Effect.scoped)
