/**
 * What is more than a mutex, drawn by a seed: permits, readers and writers, elections, and what runs once.
 */
import type { Draw } from "./Draw.ts"
import type { Fault, LockerSpec, OnCrash, Process, Step, Steps, Way } from "./Program.ts"

const ttls = [600, 1500, 4000, 20_000]
const waits = [0, 300, 1000, 3000, 10_000]

/** What the steps of a process are drawn with. */
export interface Drawing {
  readonly draw: Draw
  readonly lockers: ReadonlyArray<LockerSpec>
  /** Some steps within another. */
  readonly body: (depth: number) => Steps
  readonly millis: () => number
}

type Hold = Extract<Step, { readonly op: "hold" }>

/** What a process has beside its Lockers. All name the same number of permits, but for a few. */
export const drawKinds = (draw: Draw, permits: number): ReadonlyArray<LockerSpec> => {
  const all: ReadonlyArray<LockerSpec> = [
    { name: "s", kind: "permits", permits: draw.chance(0.07) ? permits + 1 : permits, ttl: draw.pick(ttls) },
    { name: "w", kind: "readWrite", ttl: draw.pick(ttls) },
    { name: "e", kind: "election", ttl: draw.pick(ttls) }
  ]
  return all.filter(() => draw.chance(0.8))
}

const isOf = ({ lockers }: Drawing, kind: LockerSpec["kind"]): ReadonlyArray<number> =>
  lockers.flatMap((spec, i) => spec.kind === kind ? [i] : [])

/** Steps of kinds, each with its weight: none where a process has none. */
export const kindSteps = (drawing: Drawing, depth: number): ReadonlyArray<readonly [number, () => Step]> => {
  const { draw, lockers } = drawing
  const hasKinds = lockers.some(({ kind }) => kind !== undefined) ? 1 : 0
  const isDeep = depth >= 4 ? 0 : 1
  const elections = isOf(drawing, "election")
  const ofElections = elections.length === 0 ? 0 : 1
  const first = depth === 0 ? 1 : 0.25
  return [
    [hasKinds * isDeep * (depth === 0 ? 9 : 3), () => holdKind(drawing, depth)],
    [ofElections * isDeep * first, () => elect(drawing, depth, draw.pick(elections))],
    [ofElections * (depth === 0 ? 1 : 0), () => contested(drawing, draw.pick(elections))],
    [ofElections * first, () => observe(drawing, draw.pick(elections))],
    [ofElections * first / 2, () => ({ op: "leader", locker: draw.pick(elections) })],
    [hasKinds * isDeep * 2 * first, () => once(drawing, depth)],
    [hasKinds * isDeep * first, () => every(drawing, depth)]
  ]
}

// Those within each other wait for each other: then only for a while, most often.
const waitOf = (draw: Draw, depth: number): { readonly wait?: number } =>
  draw.chance(depth === 0 ? 0.3 : 0.1) ? {} : { wait: draw.pick(waits) }

const holdKind = (drawing: Drawing, depth: number): Step => {
  const { draw, lockers } = drawing
  const locker = draw.pick(lockers.flatMap((spec, i) => spec.kind === undefined ? [] : [i]))
  const { kind, ttl } = lockers[locker]!
  const options = {
    ...waitOf(draw, depth),
    ...(draw.chance(0.1) ? { margin: Math.floor(ttl * draw.pick([0, 0.3])) } : {}),
    ...(draw.chance(0.1) ? { maxHold: 1 + draw.below(2 * ttl) } : {}),
    ...(draw.chance(0.1) ? { label: "somebody" } : {})
  }
  const body = draw.chance(0.25) && depth < 3
    ? [...drawing.body(depth), sameAgain(drawing, locker, depth)]
    : drawing.body(depth)
  return { op: "hold", locker, ...options, ...held(draw, lockers[locker]!, kind), body }
}

// The same name within itself: a reader within a writer, a writer within a reader, more permits.
const sameAgain = (drawing: Drawing, locker: number, depth: number): Step => {
  const { draw, lockers } = drawing
  const hold: Step = {
    op: "hold",
    locker,
    ...waitOf(draw, depth + 1),
    ...held(draw, lockers[locker]!, lockers[locker]!.kind),
    body: drawing.body(depth + 1)
  }
  return draw.chance(0.2) ? { op: "fork", leftBehind: draw.chance(0.5), body: [hold] } : hold
}

const held = (
  draw: Draw,
  { permits = 1 }: LockerSpec,
  kind: LockerSpec["kind"]
): Pick<Hold, "way" | "side" | "weight"> => {
  const way = draw.weighed<Hold["way"]>([
    [3, "withLock"],
    [2, "acquire"],
    [1, "use"],
    [1, "withLockIfAvailable"]
  ])
  if (kind === "election") return { way: "campaign" }
  if (kind === "readWrite") return { way, side: draw.chance(0.4) ? "write" : "read" }
  const weight = draw.chance(0.5) ? 1 : 1 + draw.below(permits)
  const ofPermits = draw.weighed<Hold["way"]>([
    [3, "withPermits"],
    [1, "withPermitsIfAvailable"],
    [2, way],
    [weight === 1 ? 1 : 0, "withPermit"]
  ])
  return { way: ofPermits, weight }
}

const elect = (drawing: Drawing, depth: number, locker: number): Step => ({
  op: "elect",
  locker,
  ...waitOf(drawing.draw, depth),
  body: drawing.body(depth)
})

// Short leads one after another, with somebody who looks on.
const contested = ({ draw }: Drawing, locker: number): Step => {
  const looking: Step = { op: "observe", locker, millis: 1_000 + draw.below(4_000) }
  const leading: Step = { op: "elect", locker, body: [{ op: "sleep", millis: draw.below(300) }] }
  return {
    op: "repeat",
    times: 1,
    body: [{ op: "fork", leftBehind: true, body: [looking] }, {
      op: "repeat",
      times: 2 + draw.below(4),
      body: [leading]
    }]
  }
}

const observe = ({ draw }: Drawing, locker: number): Step => {
  const looking: Step = { op: "observe", locker, millis: 100 + draw.below(12_000) }
  return draw.chance(0.8) ? { op: "fork", leftBehind: draw.chance(0.5), body: [looking] } : looking
}

const once = (drawing: Drawing, depth: number): Step => {
  const { draw } = drawing
  const step: Step = {
    op: "once",
    key: draw.pick(["k", "l"]),
    ttl: draw.pick([600, 1500, 4000]),
    timeToLive: draw.pick([300, 2000, 10_000]),
    ...waitOf(draw, depth),
    body: drawing.body(depth)
  }
  return draw.chance(0.3) ? { op: "repeat", times: 2, body: [step, { op: "sleep", millis: drawing.millis() }] } : step
}

const every = (drawing: Drawing, depth: number): Step => {
  const { draw } = drawing
  const onCrash: OnCrash = draw.chance(0.5) ? "skip" : "again"
  const step: Step = {
    op: "every",
    job: onCrash === "skip" ? "t" : "u",
    ttl: draw.pick([600, 1500, 4000]),
    // All who do one job do it at the same times.
    seconds: onCrash === "skip" ? 2 : 5,
    atLeast: onCrash === "skip" ? 3_000 : 1_500,
    window: onCrash === "skip" ? 700 : 2_000,
    onCrash,
    millis: 1_000 + draw.below(12_000),
    body: drawing.body(depth)
  }
  return draw.chance(0.7) ? { op: "fork", leftBehind: draw.chance(0.5), body: [step] } : step
}

/** A wall clock that is ahead, or behind: most often by less than ticks allow for. */
export const skewed = (draw: Draw, process: Process): Process =>
  draw.chance(0.4)
    ? { ...process, skew: draw.below(2_800) * (draw.chance(0.5) ? 1 : -1) * (draw.chance(0.1) ? 4 : 1) }
    : process

/** Fibers that all want one name for a moment, so that its tenure passes on within their process. */
export const crowd = (draw: Draw): ReadonlyArray<Steps> => {
  const locker = 0
  // Of one that is all the same, tenures pass on as often as they may.
  const isAlike = draw.chance(0.4)
  const hold = (): Step => {
    if (isAlike) return { op: "hold", way: "withLock", locker, body: [] }
    const inner: Steps = draw.weighed<Steps>([
      [6, [{ op: "sleep", millis: draw.below(12) }]],
      [1, [{ op: "plain", locker, action: "put" }]],
      [1, [{ op: "hold", way: "use", locker, body: [{ op: "lease", action: "state" }] }]],
      [1, [{ op: "fail" }]]
    ])
    const way = draw.weighed<Way>([[8, "withLock"], [1, "use"], [1, "withLockIfAvailable"]])
    const more = draw.chance(0.1) ? { maxHold: 1 + draw.below(20) } : draw.chance(0.1) ? { label: "another" } : {}
    return { op: "hold", way, locker, body: inner, ...more }
  }
  const step = (): Step =>
    draw.weighed<Step>([
      [8, hold()],
      [1, { op: "timeout", millis: draw.below(80), body: [hold()] }],
      [1, { op: "interrupt", yields: draw.below(30), body: [hold()] }]
    ])
  return Array.from({ length: 4 + draw.below(8) }, () => Array.from({ length: 1 + draw.below(3) }, step))
}

/** A process that dies. */
export const crash = (draw: Draw, processes: number): ReadonlyArray<Fault> =>
  draw.chance(0.25)
    ? [{ kind: "crash", at: draw.below(draw.chance(0.5) ? 1_000 : 6_000), for: 0, process: draw.below(processes) }]
    : []

/** A step that ends by itself, where nothing can interrupt it. */
export const endingByItself = (step: Step): Step => {
  switch (step.op) {
    case "elect":
      return { op: "hold", way: "campaign", locker: step.locker, wait: step.wait ?? 1_000, body: step.body }
    case "once":
      return { ...step, wait: step.wait ?? 1_000 }
    case "every":
    case "observe":
      return { op: "sleep", millis: 5 }
    default:
      return step
  }
}
