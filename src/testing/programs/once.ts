/**
 * What runs once: for a key, until its result is kept no more; and at each tick, whatever the clocks of processes show, as
 * far as they may differ.
 */
import { type History, type Operation, show } from "./History.ts"
import type { Event } from "./Trace.ts"
import type { Violation } from "./Violation.ts"

export const once = (history: History): ReadonlyArray<Violation> => [
  ...results(history),
  ...runs(history),
  ...ticks(history)
]

const isDone = ({ outcome }: Operation): boolean => outcome?.kind === "Done"

const violation = (operation: Operation, at: number, what: string): Violation => ({
  rule: "once",
  at,
  what: `${show(operation)} ${what}`
})

/** What something is told of: what a key's effect made, and when. */
type Made = Extract<Event, { readonly _tag: "Made" }>

// Whoever gets something gets what the effect of that key has made, no longer ago than it is kept.
const results = (history: History): ReadonlyArray<Violation> => {
  const made = new Map<string, Made>()
  return history.trace.events.flatMap((event): ReadonlyArray<Violation> => {
    if (event._tag === "Made") made.set(`${event.name} ${event.text}`, event)
    if (event._tag !== "Given") return []
    const { at, id, name, text } = event
    const source = made.get(`${name} ${text}`)
    const operation = history.operations.get(id)!
    if (source === undefined) return [violation(operation, at, `was given ${text}, which nobody has made`)]
    // One that was made since must be what is kept, unless it could not be.
    const newer = Array.from(made.values()).find((other) =>
      other.name === name && other.at > source.at && isSafe(history, other) &&
      history.operations.get(other.id)!.ended < operation.began
    )
    return newer === undefined || !isCalm(history, source.at, at) ? [] : [
      violation(operation, at, `was given ${text}, and ${newer.text} was made since`)
    ]
  })
}

const isSafe = (history: History, { id }: Made): boolean => isDone(history.operations.get(id)!)

// Nothing was wrong that could keep what was made from being kept, or found.
const isCalm = (history: History, from: number, to: number): boolean => {
  const { faults, processes } = history.trace.program
  return faults.length === 0 &&
    processes.every((_, process) => history.stillOf(process).every((span) => span.to < from || span.from > to))
}

// The effect of a key runs again only where it has made nothing, or what it made is kept no more, or could not be.
const runs = (history: History): ReadonlyArray<Violation> => {
  const all = Array.from(history.operations.values()).filter(({ entered, step }) =>
    step.op === "once" && entered !== undefined
  )
  return all.flatMap((again) =>
    all.filter((first) =>
      first.names[0] === again.names[0] && wasKept(history, first, again) &&
      !all.some((other) => replaces(other, first, again))
    ).map((first) => violation(again, again.entered!, `ran, and ${first.id} had made what is kept`))
  )
}

// What was made last is what is kept, for as long as its own options say.
const replaces = (other: Operation, { left, names }: Operation, again: Operation): boolean =>
  other.names[0] === names[0] && other.left > left && other.left <= again.entered!

const wasKept = (history: History, first: Operation, again: Operation): boolean => {
  const { step } = first
  if (step.op !== "once" || first.id === again.id || !isDone(first)) return false
  // What is within it runs before there is something to keep.
  const isNested = history.isWithin(again, first) || history.isWithin(first, again)
  return !isNested && first.left <= again.entered! && isCalm(history, first.entered!, again.entered!) &&
    again.entered! < first.left + step.timeToLive - history.slack
}

/** A run of a tick. */
interface Run {
  readonly tick: Extract<Event, { readonly _tag: "Ticked" }>
  readonly every: Operation
  /** The operation of its body. */
  readonly body: Operation | undefined
}

type Every = Extract<Operation["step"], { readonly op: "every" }>

const runsOf = (history: History): ReadonlyArray<Run> => {
  const bodies = Array.from(history.operations.values()).filter(({ step }) => step.op === "tick")
  return history.trace.events.flatMap((event): ReadonlyArray<Run> => {
    if (event._tag !== "Ticked") return []
    const body = bodies.find(({ began, step, within }) =>
      within.at(-1) === event.id && step.op === "tick" && step.due === event.due && began >= event.at
    )
    return [{ tick: event, every: history.operations.get(event.id)!, body }]
  })
}

const stepOf = ({ every }: Run): Every => every.step as Every

const ticks = (history: History): ReadonlyArray<Violation> => {
  const all = runsOf(history)
  return [
    ...all.flatMap((run) => outOfTime(history, run)),
    ...all.flatMap((run, i) => all.slice(i + 1).flatMap((again) => twice(history, run, again))),
    ...lostTicks(history, all)
  ]
}

// By the own clock a tick is begun neither before it is due, nor, where it is not taken over, too late.
const outOfTime = (history: History, run: Run): ReadonlyArray<Violation> => {
  const { every, tick: { at, due, wall } } = run
  const { onCrash, window } = stepOf(run)
  // Between the last look at the clock and the job it may be set, or stand still.
  const isStill = history.stillOf(every.process).some(({ from, to }) => from <= at && to >= at - history.slack)
  const jumped = history.faults("jump", every.process).some(({ from }) => Math.abs(from - at) <= history.slack)
  const isLate = onCrash === "skip" && wall > due + window + history.slack
  return !isStill && !jumped && (wall < due || isLate)
    ? [violation(every, at, `began the tick of ${due} when its clock showed ${wall}`)]
    : []
}

const twice = (history: History, run: Run, again: Run): ReadonlyArray<Violation> => {
  const { tick } = run
  if (tick.name !== again.tick.name || tick.due !== again.tick.due || history.forgotten.length > 0) return []
  const { atLeast, onCrash } = stepOf(run)
  // The first is kept for so long that the clock of the second must have been behind by that much.
  const behind = tick.wall - tick.at - (again.tick.wall - again.tick.at)
  const isExplained = onCrash === "again"
    ? mayBeTakenOver(history, run, again)
    : behind >= atLeast - history.slack
  return isExplained ? [] : [
    violation(again.every, again.tick.at, `ran the tick of ${tick.due}, which ${run.every.id} has run`)
  ]
}

// What has come to its end is run again only where that could not be written down. That two never run at once is said by
// the exclusion.
const mayBeTakenOver = (history: History, { body, every }: Run, again: Run): boolean => {
  const isOver = body?.outcome?.kind === "Done" || body?.outcome?.kind === "Failed" || body?.outcome?.kind === "Died"
  if (body === undefined || !isOver || history.crashed(every.process) < Infinity) return true
  // An interruption while that is written down gives the lock back.
  const wasStopped = every.ended <= body.ended + history.trace.program.latency * 8 + history.slack
  return wasStopped || !isCalm(history, body.began, again.tick.at)
}

// Where nothing goes wrong somebody runs each tick that falls within the time of one that waits for it.
const lostTicks = (history: History, all: ReadonlyArray<Run>): ReadonlyArray<Violation> => {
  const { faults, latency, processes } = history.trace.program
  if (faults.length > 0 || processes.some(({ skew = 0 }, i) => skew !== 0 || history.stillOf(i).length > 0)) return []
  const [clock] = all
  if (clock === undefined) return []
  const offset = clock.tick.wall - clock.tick.at
  return Array.from(history.operations.values()).flatMap((every) => {
    const { began, ended, step } = every
    if (step.op !== "every") return []
    const rest = latency * 8 + history.slack + 5
    const period = step.seconds * 1000
    const own = all.filter(({ tick }) => tick.name === every.names[0])
    const isBusy = (at: number) =>
      own.some(({ body, tick }) =>
        tick.id === every.id && tick.at - rest <= at && (body?.ended ?? Infinity) + rest >= at
      )
    const dues: Array<number> = []
    for (let due = Math.ceil((began + offset + rest) / period) * period; due + rest < ended + offset; due += period) {
      dues.push(due)
    }
    return dues.filter((due) => !isBusy(due - offset) && !own.some(({ tick }) => tick.due === due)).map((due) =>
      violation(every, due - offset, `waited for the tick of ${due}, and nobody ran it`)
    )
  })
}
