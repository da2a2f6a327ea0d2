/**
 * A campaign: clients and servers in processes of their own, over one store, with a network between them that fails,
 * while processes are killed and stopped. At the end all that the clients wrote down is checked.
 */
import { assert } from "@effect/vitest"
import { Context, Effect, Exit, Layer, Schedule, Scope } from "effect"
import { Talker } from "effect-dlm"
import { NodeTalker } from "effect-dlm/node"
import * as path from "node:path"
import { type Counts, countsOf } from "../../support/history/counts.ts"
import { type Forgetting, monotonic } from "../../support/history/History.ts"
import * as Invariants from "../../support/history/invariants.ts"
import * as Lines from "../../support/history/lines.ts"
import { tenures } from "../../support/history/tenures.ts"
import { type Limited, lockOf, requestOf, whole } from "../../support/permits.ts"
import { temporaryFolder } from "../../support/programs.ts"
import { isLong } from "../../support/report.ts"
import * as Processes from "../cli/processes.ts"
import type { Bundle } from "./bundle.ts"
import type * as Client from "./client.ts"
import { limited, shelves } from "./limited.ts"
import * as Proxy from "./proxy.ts"
import { canBeHad, failing } from "./recovery.ts"
import * as Resource from "./resource.ts"
import type { Faulty, StoreFault } from "./stores.ts"

/** With DLM_LONG=1 ten times as much. */
export const times = isLong ? 10 : 1

export interface Plan {
  /** What `dlm serve` is given, and what is done to it, each fault so often. */
  readonly store: Faulty
  readonly storeFaults: number
  readonly servers: number
  /** Whether a killed server forgets who held what. */
  readonly forgets: boolean
  /** How many requests are to be answered, or to time out. */
  readonly operations: number
  /** How often each fault of the network is to happen, at the least. */
  readonly faults: number
  /** How likely a line is to meet one. */
  readonly likelihood: number
  /** How often a server is killed, and started again; a client, and another one started; and one stopped for a while. */
  readonly kills: number
  readonly clientKills: number
  readonly stops: number
}

/** What there was, once it has been checked. */
export interface Outcome {
  readonly seconds: number
  readonly operations: number
  readonly endings: Readonly<Record<Lines.Ending, number>>
  readonly holds: number
  readonly writes: number
  /** Reads of what readers share, between which nothing was written. */
  readonly sharedReads: number
  readonly faults: Readonly<Record<Proxy.Fault, number>>
  /** How many messages of clients came as lines, and as frames. */
  readonly passed: { readonly lines: number; readonly frames: number }
  /** What was done to the store, how often. After each a lock was had through each server. */
  readonly storeFaults: Readonly<Partial<Record<StoreFault, number>>>
  readonly kills: number
  readonly clientKills: number
  /** Clients that were stopped for longer than their time to live. */
  readonly stops: number
  /** How many of them had their write refused, since another client was granted the lock meanwhile. */
  readonly lateWritesRefused: number
  /** What was answered of names that several hold. */
  readonly permits: Counts
}

const ttl = 1_500
const answerTimeout = 500
const maxWait = 1_000
const names = 10
/** By when what nobody holds any more has ended: over etcd that may be later than its time to live. */
const untilEnded = 2 * ttl + maxWait + 10_000
const clients = 3
const gates = 4
const workersPerConnection = 6

/** A process that can be killed, and begun again. What it says is lost, unless it ends by itself and not well. */
const respawning = <A, E>(start: Effect.Effect<A, E, Scope.Scope>, processOf: (started: A) => Processes.Running) =>
  Effect.gen(function*() {
    let scope = Scope.makeUnsafe()
    const state: { current: A | undefined; died: Processes.Ended | undefined } = { current: undefined, died: undefined }
    const begin = Effect.suspend(() => {
      scope = Scope.makeUnsafe()
      return Effect.gen(function*() {
        const current = state.current = yield* start
        yield* Effect.forkScoped(Effect.map(processOf(current).ended, (ended) => {
          if (ended.status !== 0) state.died = ended
        }))
      }).pipe(Scope.provide(scope))
    })
    const kill = Effect.suspend(() => Scope.close(scope, Exit.void))
    yield* Effect.addFinalizer(() => kill)
    yield* begin
    return { current: () => state.current!, died: () => state.died, kill, start: begin }
  })

/** All that takes part, started. */
const startAll = Effect.fnUntraced(function*(plan: Plan, { client: clientFile, dlm, env }: Bundle) {
  const folder = yield* temporaryFolder("faults")
  const resource = yield* Resource.serve
  const serve = Effect.gen(function*() {
    const process = yield* Processes.start(
      dlm,
      ["serve", "--port", "0", "--json", "--store", plan.store.url, ...(plan.store.flags ?? [])],
      { env }
    )
    const [, port] = yield* process.prints(/^\{"listening":"127\.0\.0\.1:(\d+)".*\}$/m)
    return { process, port: Number(port) }
  })
  const server = respawning(serve, ({ process }) => process)
  const servers = yield* Effect.all(Array.from({ length: plan.servers }, () => server), { concurrency: "unbounded" })
  const proxy = yield* Proxy.proxy({
    gates,
    servers: () => servers.map(({ current }) => current().port),
    likelihood: plan.likelihood,
    ttl,
    patience: answerTimeout + maxWait
  })
  const histories: Array<string> = []
  const client = Effect.suspend(() => {
    const history = path.join(folder, `${histories.length}.jsonl`)
    histories.push(history)
    const options: Client.Options = {
      ports: proxy.ports,
      resource: resource.port,
      history,
      names,
      workers: workersPerConnection,
      ttl,
      answerTimeout,
      maxWait,
      forgets: plan.forgets
    }
    return Processes.start(clientFile, [JSON.stringify(options)], { env })
  })
  const worker = respawning(client, (running) => running)
  const workers = yield* Effect.all(Array.from({ length: clients }, () => worker), { concurrency: "unbounded" })
  return { resource, servers, proxy, workers, histories }
})

/** After how long without a further operation no more of them come, in milliseconds. */
const standstill = 60_000

/** Lets a client stop itself, in the midst of a tenure; it is woken when that is over. */
const stopClient = (resource: Effect.Success<typeof Resource.serve>) =>
  Effect.gen(function*() {
    const pid = yield* resource.stopNext
    const woken = () => resource.stops.filter(({ process }) => process === pid).length
    const before = woken()
    yield* Effect.sleep(ttl * 1.8)
    // It stops soon after it was told to: one that is not yet stopped is woken later.
    yield* Effect.suspend(() => {
      process.kill(pid, "SIGCONT")
      return woken() > before ? Effect.void : Effect.fail("it sleeps")
    }).pipe(Effect.retry({ schedule: Schedule.spaced("50 millis"), times: 60 }))
  }).pipe(
    // It may have lost its lease before it came to that.
    Effect.retry({ times: 2 })
  )

export const run = Effect.fnUntraced(function*(plan: Plan, bundle: Bundle) {
  const began = monotonic()
  const { histories, proxy, resource, servers, workers } = yield* startAll(plan, bundle)
  const forgettings: Array<Forgetting> = []
  const killServer = (i: number) =>
    Effect.gen(function*() {
      const server = servers[i % servers.length]!
      const from = monotonic()
      yield* server.kill
      if (plan.forgets) forgettings.push(Lines.forgetting(from, monotonic()))
      yield* server.start
    })
  const killClient = (i: number) => {
    const worker = workers[i % workers.length]!
    return Effect.andThen(worker.kill, worker.start)
  }

  const ports = () => servers.map(({ current }) => current().port)
  const failStore = failing(plan.store, () => ({
    ports: ports(),
    pids: servers.map(({ current }) => current().process.pid)
  }))

  // What happens to processes and to the store, spread over the campaign.
  const events: ReadonlyArray<Effect.Effect<void, unknown>> = Array.from(
    { length: Math.max(plan.kills, plan.clientKills, plan.stops, plan.storeFaults) },
    (_, i) => [
      ...(i < plan.storeFaults ? failStore.all : []),
      ...(i < plan.stops ? [stopClient(resource)] : []),
      ...(i < plan.kills ? [killServer(i)] : []),
      ...(i < plan.clientKills ? [killClient(i)] : [])
    ]
  ).flat()
  const until = (done: () => boolean) =>
    Effect.gen(function*() {
      let last = { operations: 0, at: monotonic() }
      while (!done()) {
        for (const { died } of [...servers, ...workers]) assert.isUndefined(died(), "a process ended")
        const operations = resource.operations()
        if (operations !== last.operations) last = { operations, at: monotonic() }
        const faults = JSON.stringify(proxy.fired)
        assert.isBelow(monotonic() - last.at, standstill, `nothing is done any more after ${operations}, ${faults}`)
        yield* Effect.sleep(100)
      }
    })
  yield* Effect.forEach(
    events,
    (event, i) => Effect.andThen(until(() => resource.operations() >= plan.operations * i / events.length), event)
  )
  const had = () => Math.min(...Object.values(proxy.fired))
  yield* until(() => resource.operations() >= plan.operations && had() >= plan.faults)

  proxy.calm()
  yield* resource.over
  for (const { current } of workers) {
    const ended = yield* current().ended
    assert.strictEqual(ended.status, 0, JSON.stringify(ended))
  }
  const several = [...limited, ...shelves]
  yield* Effect.forEach(several, (one) => isAllThere(ports()[0]!, one), { concurrency: "unbounded" })
  const owned = [
    ...Array.from({ length: names }, (_, i) => `counter/${i}`),
    ...Array.from({ length: names * 4 }, (_, i) => `data/${i}`)
  ]
  yield* canBeHad(ports()[0]!, owned, untilEnded)
  for (const [wire, messages] of Object.entries(proxy.passed)) {
    assert.isAbove(messages, plan.operations / 5, `messages as ${wire}`)
  }
  const outcome = yield* check(plan, Lines.fromFiles(histories, forgettings), resource)
  return {
    ...outcome,
    seconds: Math.round((monotonic() - began) / 1000),
    faults: { ...proxy.fired },
    passed: { ...proxy.passed },
    storeFaults: failStore.counts,
    kills: plan.kills,
    clientKills: plan.clientKills
  } satisfies Outcome
}, Effect.scoped)

/** When all has ended, no place of a name is lost: one gets all of it, and again when that was given back. */
const isAllThere = Effect.fnUntraced(function*(port: number, { limit, name }: Limited) {
  const { talk } = Context.get(yield* Layer.build(Layer.fresh(NodeTalker.layer({ port }))), Talker.Talker)
  for (const [id, Wait] of [["last", untilEnded], ["again", 1000]] as const) {
    const claim = { name, limit, weight: whole(limit), ttl, id }
    // Who asked with another limit, and went away, still has it for a while.
    const answer = yield* talk(lockOf(claim, { Wait })).pipe(
      Effect.repeat({ until: ({ Status }) => Status !== "Conflict", schedule: Schedule.spaced("100 millis") }),
      Effect.timeout(untilEnded)
    )
    assert.strictEqual(answer.Status, "Locked", `not all of ${name} is there any more: ${JSON.stringify(answer)}`)
    yield* talk(requestOf(claim, "Unlock"))
  }
}, Effect.scoped)

/** The client keeps a tenth of the time to live for being late. */
const limits: Invariants.Limits = { slack: ttl / 10, grain: 2, storeFails: true, locksWithin: true }

const check = Effect.fnUntraced(function*(
  plan: Plan,
  history: Lines.FromLines,
  resource: Effect.Success<typeof Resource.serve>
) {
  const violations = Invariants.violations(history, limits)
  for (const [promise, broken] of Object.entries(violations)) {
    assert.strictEqual(broken.length, 0, `${promise} is broken, such as here:\n${broken.slice(0, 5).join("\n")}\n`)
  }
  const { endings } = history
  const operations = endings.answered + endings.timedOut
  assert.isAtLeast(operations, plan.operations)

  // No update was lost: each that was accepted added one, and each that a client knows of was accepted.
  const counters = yield* resource.counters
  assert.deepStrictEqual(counters, new Map(resource.written))
  const acknowledged = history.touches.filter(({ taken, what }) => what === "write" && taken)
  const byName = Map.groupBy(acknowledged, ({ name }) => name)
  for (const [name, value] of counters) assert.isAtMost(byName.get(name)?.length ?? 0, value, name)
  const written = Array.from(counters.values()).reduce((sum, value) => sum + value, 0)
  // A client that was killed may have died before the answer to each of its writes.
  assert.isAtMost(written - acknowledged.length, plan.clientKills * gates * workersPerConnection)
  const stops = resource.stops.filter(({ millis }) => millis > ttl)
  return {
    operations,
    endings,
    holds: tenures(history, limits).length,
    writes: written,
    sharedReads: resource.sharedReads(),
    permits: countsOf(history.operations.filter(({ name }) => limited.some((one) => one.name === name))),
    stops: stops.length,
    lateWritesRefused: stops.filter(({ refused }) => refused).length
  }
})
