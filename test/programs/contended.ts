/**
 * Programs whose processes hold few names within one another, in any order: most of them come to a deadlock.
 *
 * Beside what is so, what only looks like it: waits that are raced, timed out, forked or interrupted, leases that end by
 * themselves, owners that several have, and a network that loses.
 */
import { Programs } from "effect-dlm/testing"
import { Seeded } from "../support/random.ts"

const names = ["a", "b", "c"]

/** How deep holds are within each other. */
const maxDepth = 3

class Composer {
  readonly random: Seeded
  readonly lockers: ReadonlyArray<Programs.LockerSpec>

  constructor(random: Seeded) {
    this.random = random
    const ttl = () => random.pick([1500, 4000, 20_000])
    this.lockers = [
      // One that two processes have is one owner.
      ...names.map((name) => ({ name, ttl: ttl(), ...random.chance(0.05) ? { id: `id-${name}` } : {} })),
      { name: "s", kind: "permits", permits: 1 + random.below(3), ttl: ttl() },
      { name: "w", kind: "readWrite", ttl: ttl() }
    ]
  }

  private readonly millis = () => this.random.chance(0.8) ? this.random.below(40) : this.random.below(400)

  steps(depth: number): Programs.Steps {
    return Array.from({ length: 1 + this.random.below(2) }, () => this.step(depth))
  }

  private step(depth: number): Programs.Step {
    const { random } = this
    const sleep: Programs.Step = { op: "sleep", millis: this.millis() }
    if (depth >= maxDepth || random.chance(0.25)) return sleep
    if (depth > 0 && random.chance(0.2)) return this.around(depth)
    if (random.chance(0.1)) return this.holdAll(depth)
    return this.hold(depth)
  }

  private around(depth: number): Programs.Step {
    const { random } = this
    const body = this.steps(depth)
    const kind = random.below(5)
    if (kind === 0) return { op: "timeout", millis: 20 + random.below(200), body }
    if (kind === 1) return { op: "interrupt", yields: random.below(60), body }
    if (kind === 2) return { op: "uninterruptible", body: [{ op: "sleep", millis: this.millis() }] }
    return kind === 3
      ? { op: "fork", leftBehind: random.chance(0.3), body }
      : { op: "finalizer", millis: random.below(30), throws: false, body }
  }

  private readonly wait = (): { readonly wait?: number } => {
    const wait = this.random.pick([300, 2000, undefined, undefined, undefined])
    return wait === undefined ? {} : { wait }
  }

  private holdAll(depth: number): Programs.Step {
    const { random } = this
    const lockers = [random.below(this.lockers.length), random.below(names.length)]
    return { op: "holdAll", lockers, ...this.wait(), body: this.steps(depth + 1) }
  }

  private hold(depth: number): Programs.Step {
    const { lockers, random } = this
    const locker = random.below(lockers.length)
    const { kind, permits = 1 } = lockers[locker]!
    const rest = {
      ...this.wait(),
      ...random.chance(0.05) ? { maxHold: 50 + random.below(500) } : {},
      ...random.chance(0.2) ? { label: random.pick(["one", "another"]) } : {},
      body: this.steps(depth + 1)
    }
    if (kind === "permits") {
      return { op: "hold", way: "withPermits", locker, weight: 1 + random.below(permits), ...rest }
    }
    const way = random.pick(["withLock", "withLock", "use", "acquire"] as const)
    return kind === "readWrite"
      ? { op: "hold", way, locker, side: random.pick(["read", "read", "write"]), ...rest }
      : { op: "hold", way, locker, ...rest }
  }
}

const faultsOf = (random: Seeded, processes: number): ReadonlyArray<Programs.Fault> =>
  Array.from({ length: random.chance(0.3) ? 1 + random.below(3) : 0 }, () => ({
    kind: random.pick(["refuse", "lose", "loseAnswer", "late", "busy", "crash", "suspend"] as const),
    at: random.below(600),
    for: 50 + random.below(1500),
    process: random.below(processes)
  }))

/** The program of a seed. */
export const contended = (seed: number): Programs.Program => {
  const random = new Seeded(seed)
  const composer = new Composer(random)
  const processes = Array.from({ length: 1 + random.below(3) }, (): Programs.Process => ({
    lockers: composer.lockers,
    fibers: Array.from({ length: 1 + random.below(3) }, () => composer.steps(0))
  }))
  return {
    seed,
    extensions: true,
    latency: random.pick([1, 5, 15]),
    processes,
    faults: faultsOf(random, processes.length)
  }
}
