/**
 * One run: a server, some clients and a resource, over a network, under the
 * faults that the seed says, and then the checks of what happened.
 */
import { Effect, type Fiber, Layer } from "effect"
import { Identities, LockServer, SocketLockServer, Store } from "effect-dlm/server"
import { SocketServer } from "effect/socket"
import { createHash } from "node:crypto"
import { Seeded } from "../../support/random.ts"
import * as FarStore from "./farStore.ts"
import { History, type Pause } from "./History.ts"
import * as Invariants from "./invariants.ts"
import * as Linearizability from "./linearizability.ts"
import { harmless, Network, type Spoiling } from "./Network.ts"
import { client, tester, type World } from "./programs.ts"
import { Resource } from "./Resource.ts"
import { type Machine, Simulator, Violation } from "./Simulator.ts"

export interface Options {
  /** Whether the resource looks at fences. By default it does. */
  readonly guarded?: boolean | undefined
  /** How many requests at the least. */
  readonly operations?: number | undefined
  /**
   * Whether the store is across a network of its own. The order of what was asked is not searched for then: what the
   * server takes back by itself, of a grant that nobody waits for any more, is no request.
   */
  readonly far?: boolean | undefined
}

export interface Outcome {
  readonly seed: number
  /** What the checks found wrong, if anything. */
  readonly violation: string | undefined
  /** Requests that were answered, or timed out. */
  readonly operations: number
  readonly holds: number
  readonly writes: number
  readonly refusedWrites: number
  /** How often each fault happened. */
  readonly faults: Readonly<Record<string, number>>
  /** How many states the search for an order looked at. */
  readonly looked: number
  /** Seconds of virtual time. */
  readonly seconds: number
  readonly hash: string
  readonly trace: ReadonlyArray<string>
}

const kinds = [
  "drop",
  "half-open",
  "reset",
  "server crash",
  "client crash",
  "client pause",
  "server pause",
  "wall clock"
] as const

const ttls = [400, 1000, 2500]
const longestTtl = 2500
const clients = 3
const fibersEach = 3
/** A search for an order is made of no more requests than this of one name. */
const mostOfAName = 460
const late = 3000
/** All must have come to an end so long after the last fault, in milliseconds. */
const patience = 120_000
const endOfTime = 3_600_000

export const simulate = (seed: number, options: Options = {}): Outcome => {
  const random = new Seeded(seed)
  const sim = new Simulator(random.fork())
  const history = new History(sim)
  const faults: Record<string, number> = {}
  const onFault = (kind: string) => {
    faults[kind] = (faults[kind] ?? 0) + 1
    sim.note("fault", kind)
  }
  const least = options.operations ?? 900

  // Each seed has faults of its own, so that some are seen alone.
  const enabled = random.chance(0.1) ? [] : kinds.filter(() => random.chance(0.5))
  const interval = random.pick([300, 1000, 4000])
  const p = random.pick([0.001, 0.005, 0.02])
  const chance = () => enabled.length > 0 && random.chance(0.5) ? p : 0
  const spoiling: Spoiling = {
    refuse: chance() * 10,
    swallow: chance() * 10,
    truncate: chance(),
    garbage: chance(),
    misdeliver: chance() * 2,
    duplicate: chance() * 4,
    holdUp: chance()
  }
  const grace = random.chance(0.5)
  const names = ["a", "b", "c", "d"]
  const network = new Network(sim, random.fork(), {
    latency: random.pick([0.2, 1, 4]),
    late,
    onFault,
    onDuplicate: (request) => void history.invoke("proxy", request)
  })
  network.spoiling = spoiling

  let violation: string | undefined
  const violate = (what: string) => {
    violation ??= what
    sim.note("violation", what)
    sim.stop()
  }
  let healedAt = Infinity

  // The server.
  const serverRate = random.between(0.99, 1.01)
  let wall = 1.7e12
  let bootWall = wall
  let server: Machine
  let downSince: number | undefined
  const boot = () => {
    if (downSince !== undefined) wall += sim.now - downSince
    downSince = undefined
    server = sim.machine("server", { rate: serverRate, wall })
    bootWall = wall
    const memory = Store.layerMemoryWith(grace ? { restartGrace: history.crashes.length === 0 ? 0 : longestTtl } : {})
    const store = options.far !== true ? memory : Layer.effect(
      Store.Store,
      Effect.map(Store.Store, (near) => FarStore.far(near, server, random.fork()))
    ).pipe(Layer.provide(memory))
    const crash = history.crashes.at(-1)
    if (grace && crash !== undefined) crash.graceUntil = sim.now + longestTtl / serverRate
    sim.note("server", "boots")
    server.fork(Layer.launch(SocketLockServer.layer.pipe(
      Layer.provide([
        watchedLockServer.pipe(Layer.provide(LockServer.layer), Layer.provide([store, Identities.layerNone])),
        Identities.layerNone,
        Layer.succeed(SocketServer.SocketServer, network.server(server))
      ])
    )))
  }
  const watchedLockServer = Layer.effect(
    LockServer.LockServer,
    Effect.map(LockServer.LockServer, ({ handle }) =>
      LockServer.LockServer.of({
        handle: (request) =>
          Effect.tap(handle(request), (response) => Effect.sync(() => history.served(request, response)))
      }))
  )
  const crash = () => {
    wall = server.wallClock
    downSince = sim.now
    server.kill()
    history.died(server)
    network.stopServing()
    network.abandon(server, random.chance(0.5))
    history.crash()
  }

  const resource = new Resource(sim.machine("resource", { rate: 1, wall: 0 }), history, {
    guarded: options.guarded ?? true,
    delay: () =>
      enabled.length > 0 && healedAt === Infinity && random.chance(0.05)
        ? random.between(0, 2 * longestTtl)
        : random.between(0.1, 2)
  })
  const world: World = {
    history,
    network,
    resource,
    random: random.fork(),
    names,
    ttls,
    enough: (name) =>
      history.completed >= least || healedAt < Infinity ||
      (name !== undefined && history.operationsOn(name) >= mostOfAName),
    settles: options.far === true ? 500 : 0,
    calm: () => sim.now > healedAt + late + 2 * longestTtl,
    violate
  }

  // The clients.
  const machines: Array<Machine | undefined> = []
  const running = new Set<Fiber.Fiber<unknown, unknown>>()
  const whenDone = (fiber: Fiber.Fiber<unknown, unknown>, then: () => void) => {
    running.add(fiber)
    fiber.addObserver((exit) => {
      running.delete(fiber)
      if (exit._tag === "Failure") violate(`a client died: ${String(exit.cause)}`)
      if (running.size === 0 && healedAt < Infinity) then()
    })
  }
  const finish = () => {
    const machine = sim.machine("tester", { rate: 1, wall: 0 })
    whenDone(machine.fork(tester(world, machine)), () => sim.stop())
  }
  let incarnations = 0
  const fibers = new Map<number, Fiber.Fiber<unknown, unknown>>()
  const start = (i: number) => {
    const machine = machines[i] = sim.machine(`client${i}.${incarnations++}`, {
      rate: random.between(0.98, 1.02),
      wall: 1.7e12
    })
    const fiber = machine.fork(client(world, machine, fibersEach))
    fibers.set(i, fiber)
    whenDone(fiber, finish)
  }

  const pause = (machine: Machine, millis: number) => {
    const pause: Pause = { machine, from: sim.now, to: Infinity }
    machine.pause()
    history.pauses.push(pause)
    sim.after(millis, () => {
      machine.resume()
      pause.to = Math.min(pause.to, sim.now)
      sim.note(machine.name, "resumes")
    })
  }

  const strike = () => {
    const kind = random.pick(enabled)
    const i = random.below(clients)
    const machine = machines[i]
    switch (kind) {
      case "drop":
      case "half-open":
      case "reset":
        if (!network.break(kind)) return
        break
      case "server crash": {
        if (downSince !== undefined || server.state !== "Running") return
        crash()
        sim.after(random.between(1, random.chance(0.7) ? 50 : 2000), boot)
        break
      }
      case "client crash":
        if (machine === undefined || machine.state !== "Running") return
        machines[i] = undefined
        running.delete(fibers.get(i)!)
        machine.kill()
        history.died(machine)
        network.abandon(machine, random.chance(0.5))
        sim.after(random.between(1, 1000), () => start(i))
        break
      case "client pause":
        if (machine === undefined || machine.state !== "Running") return
        pause(machine, random.between(0, random.chance(0.5) ? 500 : 2 * longestTtl))
        break
      case "server pause":
        if (downSince !== undefined || server.state !== "Running") return
        pause(server, random.between(0, random.chance(0.8) ? 300 : 3000))
        break
      case "wall clock": {
        const by = random.pick([-1, 1]) * random.pick([10, 1000, 60_000, 3_600_000])
        // Fences begin at the wall clock of the start: it is not set back behind the last one.
        if (random.chance(0.6)) {
          if (downSince === undefined) server.setWallClock(Math.max(by, bootWall + 1000 - server.wallClock))
        } else machine?.setWallClock(by)
      }
    }
    onFault(kind)
  }
  const nemesis = () => {
    if (healedAt < Infinity) return
    if (enabled.length > 0) strike()
    sim.after(interval * 2 * random.double(), nemesis)
  }
  const heal = () => {
    if (!world.enough() && sim.now < endOfTime / 2) return void sim.after(100, heal)
    // What is under way still ends: pauses, and those who are down come back.
    network.spoiling = harmless
    healedAt = sim.now + longestTtl * 2
    sim.note("all", "heals")
    sim.after(patience, () => violate(`it hangs: ${running.size} clients have not come to an end`))
  }

  boot()
  for (let i = 0; i < clients; i++) start(i)
  sim.after(interval, nemesis)
  sim.after(100, heal)

  let looked = 0
  try {
    sim.run(endOfTime)
    if (violation === undefined) {
      Invariants.check(history)
      if (options.far !== true) looked = Linearizability.check(history, { serverRate, late: late + 10_000 })
    }
  } catch (error) {
    if (!(error instanceof Violation)) throw error
    violate(error.message)
  }
  return {
    seed,
    violation,
    operations: history.completed,
    holds: history.holds.length,
    writes: history.writes.length,
    refusedWrites: history.refused,
    faults,
    looked,
    seconds: sim.now / 1000,
    hash: createHash("sha256").update(sim.trace.join("\n")).digest("hex").slice(0, 16),
    trace: sim.trace
  }
}
