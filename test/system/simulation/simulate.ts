/**
 * One run: a server, some clients and a resource, over a network, under the
 * faults that the seed says, and then the checks of what happened.
 */
import { Effect, Exit, type Fiber, Layer } from "effect"
import type { Protocol } from "effect-dlm/protocol"
import { Identities, LockServer, SocketLockServer, Store } from "effect-dlm/server"
import { SocketServer } from "effect/socket"
import { createHash } from "node:crypto"
import { type Counts, countsOf } from "../../support/history/counts.ts"
import { History } from "../../support/history/History.ts"
import * as Invariants from "../../support/history/invariants.ts"
import * as Order from "../../support/history/order.ts"
import type { Limited } from "../../support/permits.ts"
import { Seeded } from "../../support/random.ts"
import * as FarStore from "./farStore.ts"
import { harmless, Network, type Spoiling } from "./Network.ts"
import { Orphans } from "./orphans.ts"
import * as Permits from "./permits.ts"
import { permitTester } from "./permitTester.ts"
import { client, isChosen, tester, type World } from "./programs.ts"
import { Resource } from "./Resource.ts"
import { type Machine, Simulator, Violation } from "./Simulator.ts"

export interface Options {
  /** Whether the resource looks at fences. By default it does. */
  readonly guarded?: boolean | undefined
  /** How many requests at the least. */
  readonly operations?: number | undefined
  /**
   * Whether the store is across a network of its own. The order of what was asked is not searched for then: what the
   * server takes back by itself, of a grant that is not waited for any more, is no request.
   */
  readonly far?: boolean | undefined
  /** Whether there are also names with limits, of which programs take some by plain requests. */
  readonly permits?: boolean | undefined
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
  /** How often what was done with names that have limits, and answered. */
  readonly permits: Counts
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
  "late",
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
/** All must have come to an end this long after the last fault, in milliseconds. */
const patience = 120_000
const endOfTime = 3_600_000

/** Timers are rounded up, and late; clocks are read in whole microseconds. */
const limits: Invariants.Limits = { slack: 3, grain: 0.002, idsReused: true }

/** What a seed says of its run. */
interface Plan {
  /** The faults that may strike. Each seed has faults of its own, so that some are seen alone. */
  readonly enabled: ReadonlyArray<typeof kinds[number]>
  /** Between two of them, in milliseconds. */
  readonly interval: number
  readonly spoiling: Spoiling
  /** Whether a server that has started again grants nothing for a while. */
  readonly grace: boolean
  /** Whether the server is one that knows neither `release` nor `heir`, as far as clients are told. */
  readonly isOld: boolean
}

const planOf = (random: Seeded): Plan => {
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
  return { enabled, interval, spoiling, grace: random.chance(0.5), isOld: random.chance(0.2) }
}

/** Names with limits. They are drawn by themselves, so that the rest of a seed is as it is without them. */
const limitedOf = (seed: number): ReadonlyArray<Limited> => {
  const random = new Seeded(seed + 2 ** 40)
  const limit = () => 1 + random.below(5)
  return [{ name: "p", limit: limit() }, { name: "q", limit: limit() }, { name: "r", limit: "shared" }]
}

/** The server and its machine, which can be killed and started again. */
class Server {
  machine!: Machine
  readonly rate: number
  private readonly run: Run
  private wall = 1.7e12
  private bootWall = this.wall
  private downSince: number | undefined

  constructor(run: Run) {
    this.run = run
    this.rate = run.random.between(0.99, 1.01)
  }

  get runs(): boolean {
    return this.downSince === undefined && this.machine.state === "Running"
  }

  boot(): void {
    const { history, network, options, plan: { grace }, random, sim } = this.run
    if (this.downSince !== undefined) this.wall += sim.now - this.downSince
    this.downSince = undefined
    const machine = this.machine = sim.machine("server", { rate: this.rate, wall: this.wall })
    this.bootWall = this.wall
    const memory = Store.layerMemoryWith(
      grace ? { restartGrace: history.forgettings.length === 0 ? 0 : longestTtl } : {}
    )
    const store = options.far !== true ? memory : Layer.effect(
      Store.Store,
      Effect.map(Store.Store, (near) => FarStore.far(near, machine, random.fork()))
    ).pipe(Layer.provide(memory))
    const forgetting = history.forgettings.at(-1)
    if (grace && forgetting !== undefined) forgetting.graceUntil = sim.now + longestTtl / this.rate
    sim.note("server", "boots")
    machine.fork(Layer.launch(SocketLockServer.layer.pipe(
      Layer.provide([
        this.watched.pipe(Layer.provide(LockServer.layer), Layer.provide([store, Identities.layerNone])),
        Identities.layerNone,
        Layer.succeed(SocketServer.SocketServer, network.server(machine))
      ])
    )))
  }

  /** The lock server, whose answers are recorded. */
  private readonly watched = Layer.effect(
    LockServer.LockServer,
    Effect.map(LockServer.LockServer, ({ handle }) =>
      LockServer.LockServer.of({
        handle: (request, sender) =>
          Effect.tap(this.visited(request, handle(request, sender)), (response) =>
            Effect.sync(() => {
              this.run.history.served(request, response)
              // There a renewal means no tenure, and may begin one.
              if (this.run.plan.isOld) return
              const orphan = this.run.orphans.served(request, response)
              if (orphan !== undefined) this.run.violate(orphan)
            }))
      }))
  )

  // Over a store across a network one that has come need not wait yet.
  private visited(request: Protocol.Request, answered: Effect.Effect<Protocol.Response>) {
    const { history, options } = this.run
    if (options.far === true) return answered
    return Effect.suspend(() => {
      const visit = history.comes(request)
      return Effect.onExit(
        answered,
        (exit) => Effect.sync(() => history.leaves(visit, Exit.isSuccess(exit) ? exit.value : undefined))
      )
    })
  }

  crash(): void {
    const { history, network, random, sim } = this.run
    this.wall = this.machine.wallClock
    this.downSince = sim.now
    this.machine.kill()
    history.died(this.machine.name)
    network.stopServing()
    network.abandon(this.machine, random.chance(0.5))
    history.forget()
  }

  // Fences begin at the wall clock of the start: it is not set back behind the last one.
  setWallClock(by: number): void {
    if (this.downSince !== undefined) return
    this.machine.setWallClock(Math.max(by, this.bootWall + 1000 - this.machine.wallClock))
  }
}

class Run {
  readonly random: Seeded
  readonly sim: Simulator
  readonly history: History
  readonly plan: Plan
  readonly network: Network
  readonly options: Options
  readonly limited: ReadonlyArray<Limited>
  readonly orphans = new Orphans(isChosen)
  readonly server: Server
  readonly faults: Record<string, number> = {}
  violation: string | undefined
  private healedAt = Infinity
  private readonly least: number
  private readonly world: World
  private readonly machines: Array<Machine | undefined> = []
  private readonly running = new Set<Fiber.Fiber<unknown, unknown>>()
  private readonly fibers = new Map<number, Fiber.Fiber<unknown, unknown>>()
  private incarnations = 0

  constructor(seed: number, options: Options) {
    const random = this.random = new Seeded(seed)
    const sim = this.sim = new Simulator(random.fork())
    const history = this.history = new History({ now: () => sim.now, note: (who, what) => sim.note(who, what) })
    this.options = options
    this.limited = options.permits === true ? limitedOf(seed) : []
    this.least = options.operations ?? 900
    const plan = planOf(random)
    // What programs with permits ask means a tenure, whatever clients are told.
    this.plan = options.permits === true ? { ...plan, isOld: false } : plan
    const network = this.network = new Network(sim, random.fork(), {
      latency: random.pick([0.2, 1, 4]),
      late,
      onFault: (kind) => this.onFault(kind),
      onRepeat: (request) => this.orphans.repeats(request),
      onDuplicate: (request) => void history.invoke("proxy", request)
    })
    network.spoiling = this.plan.spoiling
    this.server = new Server(this)
    const resource = new Resource(sim.machine("resource", { rate: 1, wall: 0 }), history, {
      guarded: options.guarded ?? true,
      delay: () =>
        this.plan.enabled.length > 0 && this.healedAt === Infinity && random.chance(0.05)
          ? random.between(0, 2 * longestTtl)
          : random.between(0.1, 2)
    })
    this.world = {
      history,
      orphans: this.orphans,
      tokens: [],
      isOld: this.plan.isOld,
      renews: (machine, ttl) => this.renews(machine, ttl),
      network,
      resource,
      random: random.fork(),
      names: ["a", "b", "c", "d"],
      ttls,
      enough: (name) => this.enough(name),
      settles: options.far === true ? 500 : 0,
      calm: () => sim.now > this.healedAt + late + 2 * longestTtl,
      violate: (what) => this.violate(what)
    }
  }

  run(): void {
    const { sim } = this
    this.server.boot()
    for (let i = 0; i < clients; i++) this.start(i)
    sim.after(this.plan.interval, () => this.disturb())
    sim.after(100, () => this.heal())
    sim.run(endOfTime)
  }

  violate(what: string): void {
    this.violation ??= what
    this.sim.note("violation", what)
    this.sim.stop()
  }

  private onFault(kind: string): void {
    this.faults[kind] = (this.faults[kind] ?? 0) + 1
    this.sim.note("fault", kind)
  }

  private enough(name?: string): boolean {
    return this.history.completed >= this.least || this.healedAt < Infinity ||
      (name !== undefined && this.history.operationsOn(name) >= mostOfAName)
  }

  private start(i: number): void {
    const machine = this.machines[i] = this.sim.machine(`client${i}.${this.incarnations++}`, {
      rate: this.random.between(0.98, 1.02),
      wall: 1.7e12
    })
    const fiber = machine.fork(this.withPermits(
      client(this.world, machine, fibersEach),
      Permits.client(this.world, machine, this.limited, fibersEach)
    ))
    this.fibers.set(i, fiber)
    this.whenDone(fiber, () => {
      const machine = this.sim.machine("tester", { rate: 1, wall: 0 })
      const testing = this.withPermits(
        tester(this.world, machine),
        permitTester(this.world, machine, this.limited)
      )
      this.whenDone(machine.fork(testing), () => this.sim.stop())
    })
  }

  private withPermits(
    mutexes: Effect.Effect<unknown, unknown>,
    permits: Effect.Effect<unknown, unknown>
  ): Effect.Effect<unknown, unknown> {
    return this.options.permits === true ? Effect.all([mutexes, permits], { concurrency: 2 }) : mutexes
  }

  private whenDone(fiber: Fiber.Fiber<unknown, unknown>, then: () => void): void {
    this.running.add(fiber)
    fiber.addObserver((exit) => {
      this.running.delete(fiber)
      if (exit._tag === "Failure") this.violate(`a client died: ${String(exit.cause)}`)
      if (this.running.size === 0 && this.healedAt < Infinity) then()
    })
  }

  private pause(machine: Machine, millis: number): void {
    const pause = this.history.pause(machine.name)
    machine.pause()
    this.sim.after(millis, () => {
      machine.resume()
      pause.to = Math.min(pause.to, this.sim.now)
      this.sim.note(machine.name, "resumes")
    })
  }

  /**
   * A machine asks to renew a lease: now and then it does not run when the answer comes, nor when the deadline does that
   * the lease has without it.
   */
  private renews(machine: Machine, ttl: number): void {
    const { plan: { enabled }, random, sim } = this
    if (!enabled.includes("client pause") || this.healedAt < Infinity || !random.chance(0.1)) return
    sim.after(random.between(0, 0.5), () => {
      if (machine.state !== "Running") return
      this.pause(machine, ttl * random.between(0.5, 0.9))
      this.onFault("pause over a renewal")
    })
  }

  /** From time to time a fault, until all heals. */
  private disturb(): void {
    if (this.healedAt < Infinity) return
    if (this.plan.enabled.length > 0) {
      const kind = this.random.pick(this.plan.enabled)
      if (this.strike(kind)) this.onFault(kind)
    }
    this.sim.after(this.plan.interval * 2 * this.random.double(), () => this.disturb())
  }

  /** Does it, and says whether there was anything to do it to. */
  private strike(kind: typeof kinds[number]): boolean {
    const { network, random, server, sim } = this
    const i = random.below(clients)
    const machine = this.machines[i]
    switch (kind) {
      case "drop":
      case "half-open":
      case "reset":
      case "late":
        return network.break(kind)
      case "server crash":
        if (!server.runs) return false
        server.crash()
        sim.after(random.between(1, random.chance(0.7) ? 50 : 2000), () => server.boot())
        return true
      case "client crash":
        if (machine === undefined || machine.state !== "Running") return false
        this.killClient(i, machine)
        return true
      case "client pause":
        if (machine === undefined || machine.state !== "Running") return false
        this.pause(machine, random.between(0, random.chance(0.5) ? 500 : 2 * longestTtl))
        return true
      case "server pause":
        if (!server.runs) return false
        this.pause(server.machine, random.between(0, random.chance(0.8) ? 300 : 3000))
        return true
      case "wall clock": {
        const by = random.pick([-1, 1]) * random.pick([10, 1000, 60_000, 3_600_000])
        if (random.chance(0.6)) server.setWallClock(by)
        else machine?.setWallClock(by)
        return true
      }
    }
  }

  private killClient(i: number, machine: Machine): void {
    const { random } = this
    this.machines[i] = undefined
    this.running.delete(this.fibers.get(i)!)
    machine.kill()
    this.history.died(machine.name)
    this.network.abandon(machine, random.chance(0.5))
    this.sim.after(random.between(1, 1000), () => this.start(i))
  }

  private heal(): void {
    const { sim } = this
    if (!this.enough() && sim.now < endOfTime / 2) return void sim.after(100, () => this.heal())
    // What is under way still ends: pauses, and machines that are down come back.
    this.network.spoiling = harmless
    this.healedAt = sim.now + longestTtl * 2
    sim.note("all", "heals")
    sim.after(patience, () => this.violate(`it hangs: ${this.running.size} clients have not come to an end`))
  }
}

export const simulate = (seed: number, options: Options = {}): Outcome => {
  const run = new Run(seed, options)
  const { history, sim } = run
  let looked = 0
  try {
    run.run()
    if (run.violation === undefined) {
      const serverRate = run.server.rate
      const { looked: states, violation } = options.far === true
        ? { looked: 0, violation: undefined }
        : Order.search(history, { serverRate, late: late + 10_000 })
      looked = states
      const broken = Invariants.first(history, { ...limits, serverRate, storeIsFar: options.far === true }) ?? violation
      if (broken !== undefined) run.violate(broken)
    }
  } catch (error) {
    if (!(error instanceof Violation)) throw error
    run.violate(error.message)
  }
  const asked = history.touches.filter(({ what }) => what === "write")
  const writes = asked.filter(({ taken }) => taken).length
  return {
    seed,
    violation: run.violation,
    operations: history.completed,
    holds: history.holds.length,
    writes,
    refusedWrites: asked.length - writes,
    permits: countsOf(history.operations.filter(({ name }) => run.limited.some((one) => one.name === name))),
    faults: run.faults,
    looked,
    seconds: sim.now / 1000,
    hash: createHash("sha256").update(sim.trace.join("\n")).digest("hex").slice(0, 16),
    trace: sim.trace
  }
}
