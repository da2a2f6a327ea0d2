/**
 * Programs, drawn by a seed.
 *
 * Some seeds have no fault, so that what must be so where nothing goes wrong is seen too; some have one name, so that
 * fibers meet, and some have several.
 */
import { Draw } from "./Draw.ts"
import { crash, crowd, type Drawing, drawKinds, endingByItself, kindSteps, skewed } from "./generateKinds.ts"
import {
  type Fault,
  type FaultKind,
  leaseActions,
  type LockerSpec,
  plainActions,
  type Process,
  type Program,
  type Step,
  type Steps
} from "./Program.ts"

const names = ["a", "b"]
const ttls = [600, 1500, 4000, 20_000]
const waits = [0, 300, 1000, 3000, undefined]

/** How deep steps are within each other. */
const maxDepth = 4

class Composer implements Drawing {
  readonly draw: Draw
  readonly lockers: ReadonlyArray<LockerSpec>
  private readonly mutexes: number

  constructor(draw: Draw, lockers: ReadonlyArray<LockerSpec>) {
    this.draw = draw
    this.lockers = lockers
    this.mutexes = lockers.filter(({ kind }) => kind === undefined).length
  }

  readonly millis = (): number => {
    const { draw } = this
    return draw.weighed([[5, draw.below(20)], [4, draw.below(400)], [1, draw.below(3000)]])
  }

  steps(depth: number, most: number): Steps {
    return Array.from({ length: 1 + this.draw.below(most) }, () => this.step(depth))
  }

  private locker(): number {
    return this.draw.below(this.mutexes)
  }

  private any(): number {
    return this.draw.below(this.lockers.length)
  }

  readonly body = (depth: number): Steps => this.steps(depth + 1, 3)

  private step(depth: number): Step {
    const { draw } = this
    const deep = depth >= maxDepth ? 0 : 1
    const make = draw.weighed<() => Step>([
      [4, () => ({ op: "sleep", millis: this.millis() })],
      [0.4, () => ({ op: "block", millis: draw.weighed([[2, draw.below(200)], [2, draw.below(6000)]]) })],
      [0.2, () => ({ op: "fail" })],
      [0.1, () => ({ op: "die" })],
      [depth === 0 ? 2 : 1, () => ({ op: "plain", locker: this.locker(), action: draw.pick(plainActions) })],
      [0.2, () => this.inOrder()],
      [depth === 0 ? 0.3 : 1.6, () => ({ op: "lease", action: draw.pick(leaseActions) })],
      [deep * (depth === 0 ? 6 : 2), () => this.hold(depth)],
      [deep * 0.4, () => this.holdAll(depth)],
      [deep * (depth === 0 ? 0.7 : 0.15), () => this.handedOn(depth)],
      [deep * 0.5, () => this.resume(depth)],
      [deep * 1.2, () => ({ op: "fork", leftBehind: draw.chance(0.5), body: this.body(depth) })],
      [deep, () => ({ op: "timeout", millis: this.millis(), body: this.body(depth) })],
      [deep * 0.4, () => ({ op: "interrupt", yields: draw.below(30), body: this.body(depth) })],
      [deep * 0.3, () => ({ op: "uninterruptible", body: this.body(depth).map(bounded) })],
      [deep * 0.3, () => this.finalizer(depth)],
      [deep * 0.5, () => ({ op: "repeat", times: 2 + draw.below(4), body: this.body(depth) })],
      ...kindSteps(this, depth)
    ])
    return make()
  }

  // Some plain operations of one Locker.
  private inOrder(): Step {
    const locker = this.locker()
    const actions = [
      this.draw.pick(["lock", "tryLock", "put"] as const),
      ...[1, 2].map(() => this.draw.pick(plainActions))
    ]
    return { op: "repeat", times: 1, body: actions.map((action) => ({ op: "plain", locker, action })) }
  }

  // What is left behind by a body, and asks for the same name: while that goes on, or ends, or later.
  private behind(depth: number, locker: number): Steps {
    const { draw } = this
    const left = Array.from({ length: 1 + draw.below(3) }, (): Step => {
      const sleep: Step = { op: "sleep", millis: draw.below(60) }
      const body: Steps = draw.chance(0.3) ? [{ op: "uninterruptible", body: [sleep] }] : [sleep]
      const inner: Step = { op: "hold", way: draw.pick(["withLock", "acquire", "withLockProvided"]), locker, body }
      return { op: "fork", leftBehind: true, body: [{ op: "sleep", millis: draw.below(30) }, inner] }
    })
    return [...left, { op: "sleep", millis: draw.below(60) }, ...draw.chance(0.3) ? this.body(depth) : []]
  }

  private hold(depth: number): Step {
    const { draw } = this
    const locker = this.locker()
    const { id, ttl } = this.lockers[locker]!
    const wait = draw.pick(waits)
    return {
      op: "hold",
      way: draw.weighed([
        [4, "withLock"],
        [1, "withLockIfAvailable"],
        [3, "withLockProvided"],
        [2, "acquire"],
        [1, "use"]
      ]),
      locker,
      // A name has an owner of its own, always.
      ...(id === undefined && draw.chance(0.3) ? { byName: true } : {}),
      ...(wait === undefined ? {} : { wait }),
      ...(draw.chance(0.2) ? { margin: Math.floor(ttl * draw.pick(ttl < 4000 ? [0, 0.3] : [0, 0.3, 0.9])) } : {}),
      ...(draw.chance(0.1) ? { maxHold: 1 + draw.below(2 * ttl) } : {}),
      ...(draw.chance(0.2) ? { poll: draw.pick([5, 70, 400]) } : {}),
      body: [
        ...draw.chance(0.2) ? [{ op: "lease", action: "changes" } as const] : [],
        ...draw.chance(0.15) ? this.behind(depth, locker) : this.body(depth)
      ]
    }
  }

  private holdAll(depth: number): Step {
    const wait = this.draw.pick(waits)
    return {
      op: "holdAll",
      lockers: [this.locker(), this.mutexes < this.lockers.length ? this.any() : this.locker()],
      ...(wait === undefined ? {} : { wait }),
      body: this.body(depth)
    }
  }

  // A lease that is let go of, and taken up again, perhaps too late.
  private handedOn(depth: number): Step {
    const { draw } = this
    const held: Steps = [...this.body(depth), { op: "lease", action: "detach" }]
    const hold: Step = { op: "hold", way: "acquire", locker: this.locker(), wait: 3_000, body: held }
    const millis = this.millis()
    return {
      op: "repeat",
      times: 1 + draw.below(2),
      body: [hold, { op: "timeout", millis, body: [this.resume(depth)] }]
    }
  }

  private resume(depth: number): Step {
    const { draw } = this
    return { op: "resume", once: draw.chance(0.7), ofAny: draw.chance(0.5), body: this.body(depth) }
  }

  private finalizer(depth: number): Step {
    const { draw } = this
    return { op: "finalizer", millis: this.millis(), throws: draw.chance(0.5), body: this.body(depth) }
  }
}

// What cannot be interrupted and waits for ever may wait for itself.
const bounded = (step: Step): Step => {
  const inner = endingByItself("body" in step ? { ...step, body: step.body.map(bounded) } : step)
  return inner.op === "hold" || inner.op === "holdAll" ? { ...inner, wait: inner.wait ?? 1_000 } : inner
}

const process = (
  draw: Draw,
  few: boolean,
  hasIds: boolean,
  kinds: () => ReadonlyArray<LockerSpec>
): Process => {
  const mutexes = Array.from({ length: 1 + draw.below(3) }, (): LockerSpec => ({
    name: few ? names[0]! : draw.pick(names),
    ttl: draw.pick(ttls),
    ...(hasIds && draw.chance(0.4) ? { id: "shared" } : {})
  }))
  const lockers = [...mutexes, ...kinds()]
  const composer = new Composer(draw, lockers)
  return { lockers, fibers: Array.from({ length: 1 + draw.below(3) }, () => composer.steps(0, 4)) }
}

const kinds: ReadonlyArray<readonly [number, FaultKind]> = [
  [2, "refuse"],
  [2, "silent"],
  [2, "lose"],
  [3, "loseAnswer"],
  [3, "noAnswer"],
  [3, "late"],
  [2, "busy"],
  [1, "plain"],
  [0.7, "deaf"],
  [1, "restart"],
  [2, "suspend"],
  [1, "jump"]
]

const faults = (draw: Draw, processes: number): ReadonlyArray<Fault> => {
  const one = fault(draw, processes)
  // One that starts anew may do so as the reference, which knows no extension.
  return one.kind === "restart" && draw.chance(0.5) ? [one, { kind: "plain", at: one.at, for: 20_000 }] : [one]
}

const fault = (draw: Draw, processes: number): Fault => {
  const kind = draw.weighed(kinds)
  return {
    kind,
    at: draw.below(draw.chance(0.5) ? 500 : 5000),
    for: draw.weighed([[3, draw.below(500)], [2, draw.below(5000)]]),
    ...(kind === "jump" && draw.chance(0.5) ? { back: true } : {}),
    // Clocks are those of one process, always.
    ...(draw.chance(0.5) || kind === "suspend" || kind === "jump" ? { process: draw.below(processes) } : {})
  }
}

const withWallClockOnly = (process: Process): Process => ({ ...process, hasWallClockOnly: true })

// The same, by the ways that differ in their types, or in what they tell, alone.
const varied = (draw: Draw, step: Step): Step => {
  const inner = "body" in step ? { ...step, body: step.body.map((one) => varied(draw, one)) } : step
  if (inner.op === "holdAll") return draw.chance(0.3) ? { ...inner, proved: true } : inner
  if (inner.op !== "hold" || inner.side !== undefined || inner.weight !== undefined) return inner
  const labelled = draw.chance(0.2) ? { ...inner, label: "somebody" } : inner
  return labelled.way === "withLockIfAvailable" && draw.chance(0.3)
    ? { ...labelled, way: "withLockProvidedIfAvailable" }
    : labelled
}

const variedProcess = (draw: Draw, process: Process): Process => ({
  ...process,
  fibers: process.fibers.map((steps) => steps.map((step) => varied(draw, step)))
})

/** The program of a seed. */
export const generate = (seed: number): Program => {
  const draw = new Draw(seed)
  const few = draw.chance(0.6)
  const hasIds = draw.chance(0.15)
  const count = draw.weighed([[2, 1], [4, 2], [1, 3]])
  // Of its own, so that a program without kinds is what it would be if there were none.
  const more = new Draw(seed + 2 ** 32)
  const hasKinds = more.chance(0.5)
  const permits = 1 + more.below(4)
  const kinds = () => hasKinds ? drawKinds(more, permits) : []
  const processes = Array.from({ length: count }, () => process(draw, few, hasIds, kinds))
  const some = draw.chance(0.3) ? 0 : 1 + draw.below(4)
  const extensions = draw.chance(0.85)
  const latency = draw.pick([1, 5, 30])
  const drawn = Array.from({ length: some }, () => faults(draw, count)).flat()
  const closesAtOnce = draw.chance(0.5)
  // So that a Talker that closes waits in vain, perhaps.
  const lasting = closesAtOnce && draw.chance(0.15)
    ? drawn.map((fault) => ({ ...fault, for: fault.for + 10_000 }))
    : drawn
  const machines = processes.map((one) => draw.chance(0.5) ? withWallClockOnly(one) : one)
    .map((one) => variedProcess(draw, one))
    .map((one) => hasKinds ? skewed(more, one) : one)
  const crowds = new Draw(seed + 2 ** 33)
  const crowded = crowds.chance(0.15)
    ? machines.map((one) => ({ ...one, fibers: [...one.fibers, ...crowds.chance(0.7) ? crowd(crowds) : []] }))
    : machines
  const struck = some > 0 ? [...lasting, ...crash(more, count)] : lasting
  return { seed, extensions, latency, processes: crowded, faults: struck, closesAtOnce }
}
