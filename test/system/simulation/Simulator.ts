/**
 * Virtual time, and machines that run in it.
 *
 * One loop runs everything in one process, at once: it picks a task of those
 * that could run, by the seed, and where there is none it moves time to the
 * next event. Nothing waits for real time, and nothing is left to chance.
 *
 * A machine is a Clock and a Scheduler of Effect. Its monotonic clock has an
 * origin and a rate of its own, its wall clock can be set; it can be paused,
 * and time goes on; it can be killed, and nothing of it ever runs again.
 */
import { Clock, Context, Duration, Effect, type Fiber, Logger, Random, Scheduler } from "effect"
import { WebCrypto } from "effect/crypto"
import type { Seeded } from "../../support/random.ts"

/** Something that happens at its time, unless it is cancelled. */
export interface Event {
  readonly at: number
  readonly order: number
  run: (() => void) | undefined
}

/** What went wrong in a run. */
export class Violation extends Error {
  override readonly name = "Violation"
}

/** More tasks than this at one moment are a loop that goes round for nothing. */
const maxTasksAtOnce = 200_000

export class Simulator {
  /** The true time, which no machine sees, in milliseconds. */
  now = 0
  readonly random: Seeded
  readonly trace: Array<string> = []
  current: Machine | undefined
  private readonly machines: Array<Machine> = []
  private readonly heap: Array<Event> = []
  private order = 0
  private stopped = false

  constructor(random: Seeded) {
    this.random = random
  }

  note(who: string, what: string): void {
    this.trace.push(`${this.now.toFixed(3)} ${who} ${what}`)
  }

  machine(name: string, options: { readonly rate: number; readonly wall: number }): Machine {
    const machine = new Machine(this, name, options)
    this.machines.push(machine)
    return machine
  }

  forget(machine: Machine): void {
    this.machines.splice(this.machines.indexOf(machine), 1)
  }

  /** Runs something this many milliseconds from now. */
  after(millis: number, run: () => void): Event {
    return this.at(this.now + Math.max(0, millis), run)
  }

  /** Runs something at a time that has not passed; at one time in the order of this. */
  at(at: number, run: () => void): Event {
    const event: Event = { at, order: this.order++, run }
    const { heap } = this
    let place = heap.length
    heap.push(event)
    while (place > 0) {
      const parent = (place - 1) >> 1
      if (!isBefore(event, heap[parent]!)) break
      heap[place] = heap[parent]!
      place = parent
    }
    heap[place] = event
    return event
  }

  private nextEvent(): Event | undefined {
    const { heap } = this
    const first = heap[0]
    const last = heap.pop()
    if (heap.length === 0 || last === undefined) return first
    let place = 0
    while (true) {
      let least = 2 * place + 1
      if (least >= heap.length) break
      if (least + 1 < heap.length && isBefore(heap[least + 1]!, heap[least]!)) least++
      if (!isBefore(heap[least]!, last)) break
      heap[place] = heap[least]!
      place = least
    }
    heap[place] = last
    return first
  }

  stop(): void {
    this.stopped = true
  }

  /** Runs until it is stopped, or this time has come. */
  run(until: number): void {
    const microtask = globalThis.queueMicrotask
    const { stackTraceLimit } = Error
    globalThis.queueMicrotask = (task) => this.current!.enqueue(task)
    // Most errors are expected here, and a stack is most of what they cost.
    Error.stackTraceLimit = 0
    try {
      let tasks = 0
      while (!this.stopped) {
        const machine = this.runnable()
        if (machine !== undefined) {
          if (++tasks > maxTasksAtOnce) throw new Violation(`${machine.name} goes round for nothing`)
          this.current = machine
          machine.runOne()
          this.current = undefined
          continue
        }
        const event = this.nextEvent()
        if (event === undefined || event.at > until) return
        if (event.run === undefined) continue
        if (event.at > this.now) tasks = 0
        this.now = event.at
        event.run()
      }
    } finally {
      globalThis.queueMicrotask = microtask
      Error.stackTraceLimit = stackTraceLimit
      this.current = undefined
    }
  }

  private runnable(): Machine | undefined {
    const { machines } = this
    const from = machines.length > 1 ? this.random.below(machines.length) : 0
    for (let i = 0; i < machines.length; i++) {
      const machine = machines[(from + i) % machines.length]!
      if (machine.canRun) return machine
    }
    return undefined
  }
}

const isBefore = (a: Event, b: Event): boolean => a.at < b.at || (a.at === b.at && a.order < b.order)

export class Machine {
  readonly name: string
  readonly sim: Simulator
  readonly context: Context.Context<never>
  state: "Running" | "Paused" | "Dead" = "Running"
  /** How many of its own milliseconds pass in one of the simulation's. */
  readonly rate: number
  /** Timers that have not rung. */
  readonly sleeping = new Set<object>()
  private readonly ready: Array<() => void> = []
  /** What runs before all else, once it goes on after it stood still. */
  private readonly first: Array<() => void> = []
  private still = 0
  private suspendedSince: number | undefined
  private suspended = 0
  private readonly origin: number
  /** What its wall clock shows beyond its monotonic clock, in milliseconds. */
  private wall: number
  private readonly bootedAt: number

  constructor(sim: Simulator, name: string, options: { readonly rate: number; readonly wall: number }) {
    this.sim = sim
    this.name = name
    this.rate = options.rate
    this.bootedAt = sim.now
    this.origin = Math.floor(sim.random.between(1_000, 1e9))
    this.wall = options.wall - this.origin
    const random = sim.random.fork()
    const ids = sim.random.fork()
    // A fiber gives way after fewer steps than usual, so it is cut in more places.
    const maxSteps = Math.floor(sim.random.between(200, 2048))
    const scheduler: Scheduler.Scheduler = {
      executionMode: "async",
      shouldYield: (fiber) => fiber.currentOpCount >= maxSteps,
      makeDispatcher: () => ({ scheduleTask: (task) => this.enqueue(task), flush: () => {} })
    }
    this.context = Context.make(Scheduler.Scheduler, scheduler).pipe(
      Context.add(Random.Random, {
        nextDoubleUnsafe: () => random.double(),
        nextIntUnsafe: () => random.uint32()
      }),
      Context.add(Logger.CurrentLoggers, new Set()),
      Context.add(WebCrypto.WebCrypto, {
        getRandomValues: (bytes: Uint8Array) => {
          for (let i = 0; i < bytes.length; i++) bytes[i] = ids.below(256)
          return bytes
        }
      } as Crypto),
      Context.add(Clock.Clock, new VirtualClock(this))
    )
  }

  /** Its monotonic clock, in milliseconds. */
  get monotonic(): number {
    const now = this.suspendedSince ?? this.sim.now
    return this.origin + (now - this.bootedAt - this.suspended) * this.rate
  }

  /** As its monotonic clock, and by the time that it was suspended more. */
  get boottime(): number {
    return this.origin + (this.sim.now - this.bootedAt) * this.rate
  }

  /** Its wall clock, in milliseconds. */
  get wallClock(): number {
    return this.wall + this.boottime
  }

  get canRun(): boolean {
    return this.state === "Running" && this.still === 0 && this.ready.length + this.first.length > 0
  }

  enqueue(task: () => void): void {
    if (this.state !== "Dead") this.ready.push(task)
  }

  /** Nothing of it runs for a while; then first of all this. */
  standStill(millis: number, then: () => void = () => {}): void {
    this.still++
    this.sim.after(millis, () => {
      this.still--
      this.first.push(then)
    })
  }

  /** As `standStill`, and its monotonic clock stands still, too. */
  suspend(millis: number): void {
    if (this.suspendedSince !== undefined) return
    this.suspendedSince = this.sim.now
    this.standStill(millis)
    this.sim.after(millis, () => {
      this.suspended += this.sim.now - this.suspendedSince!
      this.suspendedSince = undefined
    })
  }

  runOne(): void {
    const { ready } = this
    const first = this.first.shift()
    if (first !== undefined) return first()
    const at = this.sim.random.below(ready.length)
    const task = ready[at]!
    const last = ready.pop()!
    if (at < ready.length) ready[at] = last
    task()
  }

  /** Runs something on this machine, this many of the simulation's milliseconds from now, unless the result is called. */
  after(millis: number, run: () => void): () => void {
    let cancelled = false
    const event = this.sim.after(millis, () =>
      this.enqueue(() => {
        if (!cancelled) run()
      }))
    return () => {
      cancelled = true
      event.run = undefined
    }
  }

  fork<A, E>(effect: Effect.Effect<A, E>): Fiber.Fiber<A, E> {
    const before = this.sim.current
    this.sim.current = this
    const fiber = Effect.runForkWith(this.context)(effect)
    this.sim.current = before
    return fiber
  }

  pause(): void {
    if (this.state === "Running") this.state = "Paused"
  }

  resume(): void {
    if (this.state === "Paused") this.state = "Running"
  }

  kill(): void {
    this.state = "Dead"
    this.ready.length = 0
    this.sim.forget(this)
  }

  setWallClock(by: number): void {
    this.wall += by
  }
}

/** The clocks of a machine. Timers are as Node's: of whole milliseconds, rounded down, one at the least, and often late. */
class VirtualClock implements Clock.Clock {
  private readonly machine: Machine

  constructor(machine: Machine) {
    this.machine = machine
  }

  currentTimeMillisUnsafe(): number {
    return Math.floor(this.machine.wallClock)
  }
  readonly currentTimeMillis = Effect.sync(() => this.currentTimeMillisUnsafe())
  currentTimeNanosUnsafe(): bigint {
    return BigInt(Math.floor(this.machine.wallClock * 1000)) * 1000n
  }
  readonly currentTimeNanos = Effect.sync(() => this.currentTimeNanosUnsafe())
  monotonicTimeNanosUnsafe(): bigint {
    return BigInt(Math.floor(this.machine.monotonic * 1e6))
  }
  readonly monotonicTimeNanos = Effect.sync(() => this.monotonicTimeNanosUnsafe())
  sleep(duration: Duration.Duration): Effect.Effect<void> {
    const millis = Duration.toMillis(duration)
    if (millis <= 0) return Effect.yieldNow
    if (!Number.isFinite(millis)) return Effect.never
    const { machine } = this
    return Effect.callback((resume) => {
      const late = machine.sim.random.chance(0.25) ? machine.sim.random.double() : 0
      const until = machine.monotonic + Math.max(1, Math.trunc(millis)) + late
      const timer = {}
      machine.sleeping.add(timer)
      const wake = () => {
        // A machine that was suspended meanwhile has not come so far.
        const left = until - machine.monotonic
        if (left > 0.5) return void (cancel = machine.after(left / machine.rate, wake))
        machine.sleeping.delete(timer)
        resume(Effect.void)
      }
      let cancel = machine.after((until - machine.monotonic) / machine.rate, wake)
      return Effect.sync(() => {
        machine.sleeping.delete(timer)
        cancel()
      })
    })
  }
}
