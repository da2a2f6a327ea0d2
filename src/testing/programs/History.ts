/**
 * A trace, put in order: operations from their begin to their end, tenures as the store knew them, and who asked by which
 * owner.
 */
import { type FaultKind, isHold, type Step } from "./Program.ts"
import type { Ended, Event, Shared, Trace } from "./Trace.ts"

/** An operation of a program. */
export interface Operation {
  readonly id: number
  readonly process: number
  readonly step: Step
  readonly names: ReadonlyArray<string>
  readonly within: ReadonlyArray<number>
  readonly lease: number | undefined
  readonly began: number
  ended: number
  outcome: Ended | undefined
  /** When its body began and was over, if it holds something. */
  entered: number | undefined
  left: number
}

/** A hold of a name, as the store knew it. */
export interface Tenure {
  readonly name: string
  readonly owner: string
  readonly fence: bigint | undefined
  /** How much of what several may hold; nothing of a mutex. */
  readonly share: Shared | undefined
  readonly from: number
  to: number
  /** When it would have ended by itself. */
  until: number
  /** The latest that this was ever to be: of those who have one owner each may shorten it. */
  promised: number
  /** Whether it was given back. */
  isFreed: boolean
  /** Whether the server forgot it. */
  isForgotten: boolean
}

/** A request, from its leaving to its answer. */
export interface Exchange {
  readonly asked: Extract<Event, { readonly _tag: "Asked" }>
  answered: number
  status: string | undefined
}

/** How an operation is told. */
export const show = ({ began, id, names, process, step }: Operation): string =>
  `${step.op}${"action" in step ? ` ${step.action}` : ""} ${id} of process ${process}, on ${names.join()}, begun at ${
    began.toFixed(1)
  }`

/** Something that lasted. */
export interface Span {
  readonly from: number
  readonly to: number
}

/** Whether it was said later than what came after it, as a store across a network may say it. */
const isOvertaken = (
  event: Extract<Event, { readonly _tag: "Held" | "Freed" }>,
  present: Tenure | undefined
): boolean =>
  present !== undefined && event.owner !== present.owner &&
  (event._tag === "Freed" || (event.fence ?? 0n) < (present.fence ?? 0n))

const nobody: ReadonlySet<number> = new Set()

export class History {
  readonly trace: Trace
  readonly operations = new Map<number, Operation>()
  readonly tenures: Array<Tenure> = []
  readonly exchanges = new Map<number, Exchange>()
  /** The operations that asked for the lock of a name by an owner. */
  private readonly askers = new Map<string, Set<number>>()
  /** The owners that asked for a lock. */
  readonly owners = new Set<string>()
  private readonly heirs = new Map<Tenure, ReadonlyArray<Operation>>()
  readonly forgotten: Array<number> = []
  readonly shared: ReadonlySet<string>
  /** By how much timers may be late, in milliseconds. */
  readonly slack: number
  /** Whether the store says who holds what; else there are the programs alone. */
  readonly seesStore: boolean

  /** Since when processes are dead. */
  private readonly crashes = new Map<number, number>()

  constructor(trace: Trace) {
    this.trace = trace
    const ids = trace.program.processes.flatMap(({ lockers }) => lockers.flatMap(({ id }) => id ?? []))
    this.shared = new Set(ids)
    this.slack = trace.slack
    this.seesStore = trace.events.some(({ _tag }) => _tag === "Held")
    const present = new Map<string, Tenure>()
    for (const event of trace.events) {
      this.ofOperation(event)
      this.ofRequest(event)
      this.ofStore(event, present)
    }
    for (const tenure of present.values()) tenure.to = tenure.until
    for (const operation of this.operations.values()) {
      const { ended, left, process } = operation
      operation.ended = Math.min(ended, this.crashed(process))
      operation.left = Math.min(left, this.crashed(process))
    }
  }

  /** Notes that an operation goes on under a tenure that others have asked for. */
  passOn(tenure: Tenure, heir: Operation): void {
    this.askers.get(`${tenure.name}\0${tenure.owner}`)!.add(heir.id)
    this.heirs.set(tenure, [...this.heirsOf(tenure), heir])
  }

  /** Those that went on under a tenure that others had asked for, in order. */
  heirsOf(tenure: Tenure): ReadonlyArray<Operation> {
    return this.heirs.get(tenure) ?? []
  }

  /** Whether others may have the owner. */
  isShared(owner: string): boolean {
    return Array.from(this.shared).some((id) => owner.endsWith(id))
  }

  private ofOperation(event: Event): void {
    if (event._tag === "Fault" && event.kind === "crash" && event.process !== undefined) {
      this.crashes.set(event.process, Math.min(event.at, this.crashed(event.process)))
    }
    if (event._tag === "Began") {
      const { at, id, lease, names, process, step, within } = event
      const notYet = { ended: Infinity, outcome: undefined, entered: undefined, left: Infinity }
      this.operations.set(id, { id, process, step, names, within, lease, began: at, ...notYet })
    }
    if (event._tag !== "Ended" && event._tag !== "Entered" && event._tag !== "Left") return
    const operation = this.operations.get(event.id)!
    if (event._tag === "Entered") operation.entered = event.at
    else if (event._tag === "Left") operation.left = event.at
    else {
      operation.ended = event.at
      operation.outcome = event.outcome
    }
  }

  /** When a process died; nothing of it happens after that, and nobody is told of what was under way. */
  crashed(process: number): number {
    return this.crashes.get(process) ?? Infinity
  }

  private ofRequest(event: Event): void {
    if (event._tag === "Asked") {
      this.exchanges.set(event.request, { asked: event, answered: Infinity, status: undefined })
      if (event.action !== "Lock" || event.by === undefined) return
      // What passes to an heir was asked for by that alone.
      const owner = event.heir ?? event.owner
      const key = `${event.name}\0${owner}`
      this.askers.set(key, (this.askers.get(key) ?? new Set()).add(event.by))
      this.owners.add(owner)
    }
    if (event._tag === "Answered") {
      const exchange = this.exchanges.get(event.request)!
      exchange.answered = event.at
      exchange.status = event.status
    }
  }

  private ofStore(event: Event, present: Map<string, Tenure>): void {
    if (event._tag === "Forgot") {
      this.forgotten.push(event.at)
      for (const tenure of present.values()) {
        tenure.to = Math.min(event.at, tenure.until)
        tenure.isForgotten = event.at < tenure.until
      }
      return present.clear()
    }
    if (event._tag !== "Held" && event._tag !== "Freed") return
    // Of those who hold a name together each has its own.
    const ofShare = `${event.name}\0${event.owner}`
    const isShare = event._tag === "Held" ? event.share !== undefined : present.has(ofShare)
    const key = isShare ? ofShare : event.name
    const before = present.get(key)
    if (isOvertaken(event, before)) return
    if (event._tag === "Held" && before?.owner === event.owner && before.fence === event.fence) {
      if (event.at < before.until) {
        before.until = event.until
        before.promised = Math.max(before.promised, event.until)
        return
      }
    }
    if (before !== undefined) {
      before.to = Math.min(event.at, before.until)
      before.isFreed = event._tag === "Freed" && event.at < before.until
    }
    present.delete(key)
    if (event._tag === "Freed") return
    const { at, fence, name, owner, share, until } = event
    const whole = { to: Infinity, until, promised: until, isFreed: false, isForgotten: false }
    const tenure = { name, owner, fence, share, from: at, ...whole }
    this.tenures.push(tenure)
    present.set(key, tenure)
  }

  /** Whether an operation is the other, or within it. */
  isWithin(operation: Operation, other: Operation): boolean {
    return operation.id === other.id || operation.within.includes(other.id)
  }

  /** What an operation is within, the innermost last. */
  around(operation: Operation): ReadonlyArray<Operation> {
    return operation.within.map((id) => this.operations.get(id)!)
  }

  /** Whether it is within what holds a name of it, or is to. */
  isWithinHold(operation: Operation): boolean {
    return this.around(operation).some(({ names, step }) =>
      isHold(step) &&
      names.some((name) => operation.names.includes(name))
    )
  }

  /** What left on behalf of an operation, in order. */
  asked({ id }: Operation): ReadonlyArray<Exchange> {
    return Array.from(this.exchanges.values()).filter(({ asked }) => asked.by === id)
  }

  /** The operations that asked for what became a tenure. */
  askersOf({ name, owner }: Tenure): ReadonlySet<number> {
    return this.askers.get(`${name}\0${owner}`) ?? nobody
  }

  /** The tenure of a name that one operation, or one around it, had asked for, and that was there at a time. */
  tenureOf(operation: Operation, name: string, at: number): Tenure | undefined {
    // Permits of one around it are that one's.
    const isOwnOnly = this.shareOf(operation, name)?.limit !== "shared" && this.shareOf(operation, name) !== undefined
    // What runs once for a key looks for a result first, under the lock: by then that may be over.
    const isLookedUp = operation.step.op === "once"
    // Of two at one moment the later: what came in then came in under that.
    return this.tenures.findLast((tenure) =>
      tenure.name === name && tenure.from <= at && (at <= tenure.to || isLookedUp) &&
      Array.from(this.askersOf(tenure)).some((id) =>
        id === operation.id || (!isOwnOnly && operation.within.includes(id))
      )
    )
  }

  /** Whether a lease of it was lost, or ended by its own time. */
  isLost({ outcome }: Operation): boolean {
    return outcome?.errors.some((error) => error.startsWith("LeaseLost")) === true
  }

  /** Whether a lease of a name was let go of in a process. */
  isDetached(name: string, process: number): boolean {
    return Array.from(this.operations.values()).some((other) =>
      other.step.op === "lease" && other.step.action === "detach" && other.process === process &&
      other.names.includes(name)
    )
  }

  /** How much an operation takes of a name that several may hold; nothing of a mutex. */
  shareOf({ id, names, process, step }: Operation, name: string): Shared | undefined {
    // What was let go of is told by what it is taken up as.
    if (step.op === "resume") {
      return this.tenures.find((tenure) => tenure.name === name && this.askersOf(tenure).has(id))?.share
    }
    if (step.op !== "hold" && step.op !== "holdAll") return undefined
    const { lockers } = this.trace.program.processes[process]!
    const asked = step.op === "hold" ? [step.locker] : step.lockers
    const order = Array.from(new Set(asked.map((locker) => lockers[locker]!.name)))
    const spec = asked.map((locker) => lockers[locker]!).find((spec) =>
      order.indexOf(spec.name) === names.indexOf(name)
    )
    const { side = "read", weight = 1 } = step.op === "hold" ? step : {}
    if (spec?.kind === "permits") return { limit: spec.permits ?? 1, weight }
    return spec?.kind === "readWrite" ? { limit: "shared", weight: side === "write" ? "all" : 1 } : undefined
  }

  /** When a process did not give way, in a body of its own. */
  blocksOf(process: number): ReadonlyArray<Span> {
    return Array.from(this.operations.values())
      .filter((operation) => operation.process === process && operation.step.op === "block")
      .map(({ began, ended }) => ({ from: began, to: ended }))
  }

  /** When a process stood still, whatever the reason. */
  stillOf(process: number): ReadonlyArray<Span> {
    return [...this.blocksOf(process), ...this.faults("suspend", process)]
  }

  /** For how long of a span a process stood still. */
  stillWithin(process: number, from: number, to: number): number {
    return this.stillOf(process).reduce(
      (sum, span) => sum + Math.max(0, Math.min(to, span.to) - Math.max(from, span.from)),
      0
    )
  }

  /**
   * By how much the wall clock of a process gained, within a span, on the clock by which its leases age: jumps, forward
   * alone or all, and suspensions where there is no clock that counts them.
   */
  gained(process: number, from: number, to: number, jumps: "forward" | "all"): number {
    const jumped = this.trace.events.flatMap((event) =>
      event._tag === "Fault" && event.kind === "jump" && (event.process ?? process) === process &&
        event.at >= from && event.at <= to && !(event.back && jumps === "forward")
        ? [(event.until - event.at) * (event.back ? -1 : 1)]
        : []
    )
    const slept = this.trace.program.processes[process]!.hasWallClockOnly === true
      ? this.faults("suspend", process).map((span) => Math.max(0, Math.min(to, span.to) - Math.max(from, span.from)))
      : []
    return [...jumped, ...slept].reduce((sum, millis) => sum + millis, 0)
  }

  /** When a process had closed. */
  closed(process: number): number {
    return this.trace.events.find((event) => event._tag === "Closed" && event.process === process)?.at ?? Infinity
  }

  /** When faults of a kind lasted that strike a process. */
  faults(kind: FaultKind, process: number): ReadonlyArray<Span> {
    return this.trace.events.flatMap((event) =>
      event._tag === "Fault" && event.kind === kind && (event.process ?? process) === process
        ? [{ from: event.at, to: event.until }]
        : []
    )
  }

  /** When the last fault was over. */
  get faultsEnd(): number {
    return Math.max(0, ...this.trace.events.flatMap((event) => event._tag === "Fault" ? [event.until] : []))
  }
}
