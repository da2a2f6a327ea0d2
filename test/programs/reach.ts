/**
 * What programs have reached: nothing is proved of what did not happen.
 */
import { Programs } from "effect-dlm/testing"

/** How often each thing of a kind happened. */
export type Counts = Record<string, number>

export interface Reach {
  programs: number
  readonly operations: Counts
  readonly faults: Counts
  readonly states: Counts
  readonly errors: Counts
}

export const empty = (): Reach => ({
  programs: 0,
  operations: {},
  faults: {},
  states: {},
  errors: {}
})

const add = (counts: Counts, what: string, by = 1) => void (counts[what] = (counts[what] ?? 0) + by)

const nameOf = (step: Programs.Step): string => {
  if (step.op === "plain") return `Locker ${step.action}`
  if (step.op === "lease") return `Lease ${step.action}`
  if (step.op === "resume" && step.ofAny === true) return "resume, of any process"
  if (step.op === "holdAll" && step.proved === true) return "holdAll, with proofs"
  if (step.op === "hold" && step.side !== undefined) return `${step.way}, to ${step.side}`
  if (step.op === "hold" && step.weight !== undefined) return `${step.way}, of permits`
  if (step.op === "every") return `every, ${step.onCrash}`
  return step.op === "hold" ? `${step.way}${step.byName === true ? " by name" : ""}` : step.op
}

/** Counts what a run has reached. */
export const count = (reach: Reach, { events }: Programs.Trace): void => {
  reach.programs++
  const asking = new Set<number | undefined>()
  const inLine = new Set<number>()
  for (const event of events) {
    if (event._tag === "Began") {
      add(reach.operations, nameOf(event.step))
      const { id, step, within } = event
      if (step.op === "hold" && step.way === "withLock" && within.length === 0) inLine.add(id)
    }
    if (event._tag === "Asked" && event.action === "Lock") asking.add(event.by)
    if (event._tag === "Entered" && inLine.has(event.id) && !asking.has(event.id)) add(reach.operations, "hand-over")
    if (event._tag === "Fault") add(reach.faults, event.kind)
    if (event._tag === "State" || event._tag === "StateAtLoss") add(reach.states, event.state)
    if (event._tag === "Ended") { for (const error of event.outcome.errors) add(reach.errors, error) }
  }
}

/** Adds what another has reached. */
export const merge = (reach: Reach, other: Reach): void => {
  reach.programs += other.programs
  for (const kind of ["operations", "faults", "states", "errors"] as const) {
    for (const [what, times] of Object.entries(other[kind])) add(reach[kind], what, times)
  }
}

/**
 * What must be reached. `ProtocolError` and `Refused` need a server that speaks nonsense or wants an identity, `DataError`
 * and `InvalidOption` a mistake, `ForeignOwner` and `UnsupportedAction` a server of another make: no program has these.
 */
export const wanted = {
  operations: [
    ...Programs.plainActions.map((action) => `Locker ${action}`),
    ...Programs.leaseActions.map((action) => `Lease ${action}`),
    ...Programs.ways.flatMap((way) => [way, `${way} by name`]),
    ...["withLock", "withLockIfAvailable", "acquire", "use"].flatMap((way) =>
      ["to read", "to write", "of permits"].map((what) => `${way}, ${what}`)
    ),
    "withPermits, of permits",
    "withPermit, of permits",
    "withPermitsIfAvailable, of permits",
    "hand-over",
    "campaign",
    "elect",
    "lead",
    "observe",
    "leader",
    "once",
    "every, skip",
    "every, again",
    "tick",
    "holdAll",
    "holdAll, with proofs",
    "resume",
    "resume, of any process",
    "block",
    "fork",
    "timeout",
    "interrupt",
    "uninterruptible",
    "finalizer",
    "repeat"
  ],
  faults: Programs.faultKinds,
  states: ["Held", "Suspect", "Ending", "Lost", "Released"],
  errors: [
    "AcquireTimeout",
    "Conflict",
    "Deadlock",
    "LeaseLost:Expired",
    "LeaseLost:TakenAway",
    "LeaseLost:MaxHold",
    "LeaseLost:Released",
    "TransportError:OpenFailed",
    "TransportError:AnswerTimeout",
    "TransportError:Closed",
    "ServerBusy",
    "NotOwner",
    "NotFound",
    "NoData",
    "Corruption",
    "FeatureMissing"
  ]
} as const

/** What of that was not reached. */
export const missing = (reach: Reach): ReadonlyArray<string> =>
  (["operations", "faults", "states", "errors"] as const).flatMap((kind) =>
    wanted[kind].filter((what) => reach[kind][what] === undefined).map((what) => `${kind}: ${what}`)
  )

const listed = (counts: Counts): string =>
  Object.entries(counts).toSorted(([a], [b]) => a < b ? -1 : 1)
    .map(([what, times]) => `${what} ${times.toLocaleString("en")}`).join(", ")

/** The rows of the report, which comes only where nothing was seen broken. */
export const rowsOf = (reach: Reach) => [
  {
    what: "Programs: seeds, and promises that they saw broken",
    figure: `${reach.programs}; 0`,
    goal: "0 broken"
  },
  { what: "Programs: operations", figure: listed(reach.operations), goal: "each some times" },
  { what: "Programs: faults", figure: listed(reach.faults), goal: "each some times" },
  { what: "Programs: states that leases told", figure: listed(reach.states), goal: "each some times" },
  { what: "Programs: errors", figure: listed(reach.errors), goal: "each some times" }
]
