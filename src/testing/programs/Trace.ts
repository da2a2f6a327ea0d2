/**
 * What happened in a run, in the order of its happening, with the true time of each in milliseconds.
 *
 * The store says who held what (`Held`, `Freed`), the programs what they did; the client's own word is there too, where
 * it is what is judged: what its operations came to, and the states that its leases told.
 */
import type { Action, Response } from "../../protocol/Messages.ts"
import type { FaultKind, Program, Step } from "./Program.ts"

/** What an operation came to. */
export interface Ended {
  readonly kind: "Done" | "None" | "Failed" | "Died" | "Interrupted"
  /** The tags of all errors in it, each with its reason: `LeaseLost:Expired`. */
  readonly errors: ReadonlyArray<string>
  /** What it said, where that is yes or no. */
  readonly value?: boolean
}

/** A part of what several may hold. */
export interface Shared {
  readonly limit: number | "shared"
  readonly weight: number | "all"
}

/** Something that happened. */
export type Event =
  & { readonly at: number }
  & (
    /** An operation began, within that of another fiber or step, perhaps. */
    | {
      readonly _tag: "Began"
      readonly id: number
      readonly process: number
      readonly step: Step
      readonly names: ReadonlyArray<string>
      /** What it is within, from the outside. */
      readonly within: ReadonlyArray<number>
      /** Which operation holds the lease that is used. */
      readonly lease: number | undefined
    }
    | { readonly _tag: "Ended"; readonly id: number; readonly outcome: Ended }
    /** The body of a hold began, or is over. */
    | { readonly _tag: "Entered"; readonly id: number }
    | { readonly _tag: "Left"; readonly id: number }
    /** A step was interrupted by the program. */
    | { readonly _tag: "Interrupted"; readonly id: number }
    /** A lease in hand told its state, to a listener of its changes, or to one of its loss. */
    | { readonly _tag: "State"; readonly lease: number; readonly state: string }
    | { readonly _tag: "StateAtLoss"; readonly state: string }
    | { readonly _tag: "Printed"; readonly text: string }
    | {
      readonly _tag: "Put"
      readonly id: number
      readonly process: number
      readonly name: string
      readonly text: string
    }
    | {
      readonly _tag: "Got"
      readonly id: number
      readonly process: number
      readonly name: string
      readonly text: string
    }
    /** Who leads a name was seen. */
    | {
      readonly _tag: "Observed"
      readonly id: number
      readonly name: string
      readonly isLed: boolean
      readonly fence: bigint | undefined
    }
    /** What runs once for a key has made something, which it or another operation was given. */
    | { readonly _tag: "Made"; readonly id: number; readonly name: string; readonly text: string }
    | { readonly _tag: "Given"; readonly id: number; readonly name: string; readonly text: string }
    /** A tick was begun by an operation: when it was due, and what the wall clock of its process showed. */
    | {
      readonly _tag: "Ticked"
      readonly id: number
      readonly name: string
      readonly due: number
      readonly wall: number
    }
    /** A request left, on behalf of an operation. */
    | {
      readonly _tag: "Asked"
      readonly request: number
      readonly process: number
      readonly by: number | undefined
      readonly action: Action
      readonly name: string
      readonly owner: string
      readonly fence: string | undefined
      /** To whom the tenure is to pass. */
      readonly heir: string | undefined
      /** For how many milliseconds it is to wait at the server. */
      readonly wait: number | undefined
    }
    | { readonly _tag: "Answered"; readonly request: number; readonly status: Response["Status"] | "None" }
    /** The store: from now on the name is this tenure's, until it is freed or that time. */
    | {
      readonly _tag: "Held"
      readonly name: string
      readonly owner: string
      readonly fence: bigint | undefined
      readonly until: number
      /** How many may hold the name, and how much of that this takes; nothing of a mutex. */
      readonly share?: Shared
    }
    | { readonly _tag: "Freed"; readonly name: string; readonly owner: string }
    /** The server has forgotten all. */
    | { readonly _tag: "Forgot" }
    | {
      readonly _tag: "Fault"
      readonly kind: FaultKind
      readonly process: number | undefined
      readonly until: number
      /** Of a wall clock that jumps: whether backwards. */
      readonly back: boolean
    }
    /** A process closes, or has closed: what goes on behind is waited for. */
    | { readonly _tag: "Closing"; readonly process: number }
    | { readonly _tag: "Closed"; readonly process: number }
    /** All programs have come to their end, and all faults; and one time to live later. */
    | { readonly _tag: "Over" }
    /** What was there still at the end. */
    | { readonly _tag: "Leftover"; readonly what: string }
  )

/** An event whose time is not known yet. */
export type Unstamped = Event extends infer E ? E extends unknown ? Omit<E, "at"> : never : never

/** What happened in a run, and of which program. */
export interface Trace {
  readonly program: Program
  /** By how much timers may be late in the world of the run, in milliseconds. */
  readonly slack: number
  readonly events: ReadonlyArray<Event>
}

/** Writes down what happens. */
export class Recorder {
  readonly events: Array<Event> = []
  private readonly now: () => number
  private lastId = 0
  private lastRequest = 0

  constructor(now: () => number) {
    this.now = now
  }

  nextId(): number {
    return ++this.lastId
  }

  nextRequest(): number {
    return ++this.lastRequest
  }

  note(event: Unstamped): void {
    this.events.push({ at: this.now(), ...event } as Event)
  }
}

/** A trace as text, a line for each event. */
export const show = ({ events }: Trace): string =>
  events.map(({ _tag, at, ...rest }) => `${at.toFixed(1)} ${_tag} ${JSON.stringify(rest, bigints)}`).join("\n")

const bigints = (key: string, value: unknown): unknown =>
  typeof value === "bigint" ? String(value) : key === "body" ? undefined : value
