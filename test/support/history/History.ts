/**
 * What was asked and answered when, who held what, and what was written: all that the checks look at. The simulation
 * and tests in one process record it here; what other processes wrote down comes from `lines.ts`.
 */
import { Effect, Option } from "effect"
import type { Lease } from "effect-dlm"
import type { Protocol } from "effect-dlm/protocol"
import * as Invariants from "./invariants.ts"
import { isAnothers } from "./tenures.ts"

/** Milliseconds of the monotonic clock, which is one for all processes of a machine. */
export const monotonic = (): number => Number(process.hrtime.bigint()) / 1e6

/** From when until when something happened: as places among all events, and as times in milliseconds. */
export interface Span {
  readonly invoked: number
  readonly returned: number
  readonly invokedAt: number
  readonly returnedAt: number
}

/** A request of a client. Without an answer it may have happened or not, at any time since. */
export interface Operation extends Span {
  readonly who: string
  readonly id: string
  readonly name: string
  readonly action: Protocol.Action
  /** In milliseconds of the server's clock. */
  readonly ttl: number
  readonly wait: number
  readonly data: string | undefined
  /** The only tenure that it means, where it means one; 0 of an `Unlock` that only withdraws. */
  readonly meant?: bigint | undefined
  /** To whom it passes that tenure. */
  readonly heir?: string | undefined
  /** Of a `Lock` for some of a limit, that and how much of it, as on the wire. */
  readonly limit?: string | undefined
  readonly weight?: string | undefined
  readonly response: Protocol.Response | undefined
  /** When the server had its answer, and which, as far as that can be told. */
  readonly served?: { readonly order: number; readonly status: Protocol.Response["Status"] } | undefined
}

/** The time of a body under a lease. */
export interface Hold {
  readonly who: string
  readonly name: string
  readonly id: string
  readonly fence: bigint
  /** For how long after the sending of a confirmed request it may go on. None where its requests are not known. */
  readonly lasts: number | undefined
  /** Other processes have its owner too, and are that owner. */
  readonly isShared?: boolean
  /** It goes on with a tenure that another body handed on. */
  readonly resumed: boolean
  readonly from: number
  readonly to: number
  /** Whether it ended well, as its program was told. */
  readonly well?: boolean
}

/** A read or a write at the resource that the lock protects. */
export interface Touch extends Span {
  readonly what: "read" | "write"
  readonly name: string
  readonly fence: bigint
  /** Whether the guard let it through. */
  readonly taken: boolean
}

/** A server lost its memory, and grants nothing until its grace ends. Without a grace that is 0. */
export interface Forgetting extends Span {
  readonly graceUntil: number
}

/** A process did not run. */
export interface Pause {
  readonly who: string
  readonly from: number
  readonly to: number
}

/** A request at a server: from when it came until it was answered, or nobody waited for its answer any more. */
export interface Visit {
  readonly id: string
  readonly name: string
  readonly action: Protocol.Action
  readonly wait: number
  /** Whether it means one tenure. */
  readonly means: boolean
  readonly came: number
  readonly left: number
  readonly leftAt: number
  /** The fence that it was granted with, if it was. */
  readonly fence: bigint | undefined
  /** Which server it was, where there are several. */
  readonly server: number
}

/** All that was seen. */
export interface Seen {
  readonly operations: ReadonlyArray<Operation>
  readonly holds: ReadonlyArray<Hold>
  readonly touches: ReadonlyArray<Touch>
  readonly forgettings: ReadonlyArray<Forgetting>
  readonly pauses: ReadonlyArray<Pause>
  /** Where it was seen what servers do. */
  readonly visits?: ReadonlyArray<Visit>
}

/** What is still open, and known in full later. */
type Open<A> = { -readonly [K in keyof A]: A[K] }

export interface Options {
  /** The time in milliseconds. By default that of the monotonic clock. */
  readonly now?: () => number
  /** Hears of each thing that is recorded. */
  readonly note?: (who: string, what: string) => void
}

export class History implements Seen {
  readonly operations: Array<Open<Operation>> = []
  readonly holds: Array<Open<Hold>> = []
  readonly touches: Array<Touch> = []
  readonly forgettings: Array<Open<Forgetting>> = []
  readonly pauses: Array<Open<Pause>> = []
  readonly visits: Array<Open<Visit>> = []
  /** Requests that were answered or have failed. */
  completed = 0
  private order = 0
  private readonly now: () => number
  private readonly note: (who: string, what: string) => void
  private readonly unserved = new Map<string, Array<Open<Operation>>>()
  private readonly byName = new Map<string, number>()

  constructor({ note = () => {}, now = monotonic }: Options = {}) {
    this.now = now
    this.note = note
  }

  operationsOn(name: string): number {
    return this.byName.get(name) ?? 0
  }

  invoke(who: string, request: Protocol.Request): Open<Operation> {
    const operation: Open<Operation> = {
      who,
      id: request.ID,
      name: request.FileName,
      action: request.Action,
      ttl: request.Expire * 1000,
      wait: request.Wait ?? 0,
      data: request.DataStore,
      meant: request.Fence === undefined ? undefined : BigInt(request.Fence),
      heir: request.Action === "Lock" ? request.Heir : undefined,
      limit: request.Limit,
      weight: request.Weight,
      invoked: this.order++,
      invokedAt: this.now(),
      returned: Infinity,
      returnedAt: Infinity,
      response: undefined
    }
    this.operations.push(operation)
    const key = keyOf(request)
    const alike = this.unserved.get(key)
    if (alike === undefined) this.unserved.set(key, [operation])
    else alike.push(operation)
    this.byName.set(operation.name, this.operationsOn(operation.name) + 1)
    this.note(
      who,
      `asks ${operation.action} ${operation.name} ${operation.id} ttl=${operation.ttl} wait=${operation.wait}` +
        (operation.meant === undefined ? "" : ` fence=${operation.meant}`) +
        (operation.heir === undefined ? "" : ` heir=${operation.heir}`) +
        (operation.limit === undefined ? "" : ` limit=${operation.limit} weight=${operation.weight ?? 1}`)
    )
    return operation
  }

  /** A request has come to a server. */
  comes(request: Protocol.Request, server = 0): Open<Visit> {
    const visit = {
      id: request.ID,
      name: request.FileName,
      action: request.Action,
      wait: request.Wait ?? 0,
      means: request.Fence !== undefined,
      came: this.order++,
      left: Infinity,
      leftAt: Infinity,
      fence: undefined,
      server
    }
    this.visits.push(visit)
    return visit
  }

  /** It has its answer, or is given up. */
  leaves(visit: Open<Visit>, response?: Protocol.Response): void {
    visit.left = this.order++
    visit.leftAt = this.now()
    if (response?.Status === "Locked" && response.Fence !== undefined) visit.fence = BigInt(response.Fence)
  }

  /** The server had this answer to such a request: most likely it was the last that was not seen served. */
  served(request: Protocol.Request, response: Protocol.Response): void {
    const operation = this.unserved.get(keyOf(request))?.pop()
    if (operation !== undefined) operation.served = { order: this.order++, status: response.Status }
  }

  answer(operation: Open<Operation>, response: Protocol.Response): void {
    this.completed++
    this.note(operation.who, `hears ${operation.action} ${operation.name} ${operation.id} ${JSON.stringify(response)}`)
    // Another's answer says nothing of this request.
    if (isAnothers(response, operation)) return
    operation.returned = this.order++
    operation.returnedAt = this.now()
    operation.response = response
  }

  noAnswer(operation: Open<Operation>, failed: boolean): void {
    if (failed) this.completed++
    this.note(operation.who, `hears nothing ${operation.action} ${operation.name} ${operation.id}`)
  }

  /** A body under a lease begins. */
  hold(
    who: string,
    { fence, id, name }: Pick<Lease.Lease, "fence" | "id" | "name">,
    { isShared = false, lasts, resumed = false }: Partial<Pick<Hold, "isShared" | "resumed">> & {
      readonly lasts?: number
    } = {}
  ): Open<Hold> {
    const from = this.now()
    const hold = {
      who,
      name,
      id,
      fence: Option.getOrElse(fence, () => 0n),
      lasts,
      isShared,
      resumed,
      from,
      to: Infinity,
      well: false
    }
    this.holds.push(hold)
    this.note(who, `holds ${name} ${id} fence=${hold.fence}`)
    return hold
  }

  release(hold: Open<Hold>): void {
    if (hold.to < Infinity) return
    hold.to = this.now()
    this.note(hold.who, `ends ${hold.name} ${hold.id}`)
  }

  /** Runs a body under a lease, and records when it did, however it ends. */
  during<A, E, R>(who: string, lease: Lease.Lease, body: Effect.Effect<A, E, R>): Effect.Effect<A, E, R> {
    return Effect.suspend(() => {
      const hold = this.hold(who, lease)
      return Effect.onExit(body, () => Effect.sync(() => this.release(hold)))
    })
  }

  /** The resource let a write through, or refused it. */
  write(name: string, fence: bigint, taken: boolean): void {
    const order = this.order++
    const at = this.now()
    this.touches.push({
      what: "write",
      name,
      fence,
      taken,
      invoked: order,
      returned: order,
      invokedAt: at,
      returnedAt: at
    })
    this.note("resource", `${taken ? "write" : "refuses"} ${name} fence=${fence}`)
  }

  /** The resource is asked to let a read through. Gives what to say once it has, or has refused it. */
  read(name: string, fence: bigint): (taken: boolean) => void {
    const invoked = this.order++
    const invokedAt = this.now()
    return (taken) => {
      const returned = this.order++
      const returnedAt = this.now()
      this.touches.push({ what: "read", name, fence, taken, invoked, returned, invokedAt, returnedAt })
      this.note("resource", `${taken ? "read" : "refuses to read"} ${name} fence=${fence}`)
    }
  }

  /** The server loses its memory now. */
  forget(): Open<Forgetting> {
    const order = this.order++
    const at = this.now()
    const forgetting = { invoked: order, returned: order, invokedAt: at, returnedAt: at, graceUntil: 0 }
    this.forgettings.push(forgetting)
    return forgetting
  }

  /** A process does not run from now on, until that is set. */
  pause(who: string): Open<Pause> {
    const pause = { who, from: this.now(), to: Infinity }
    this.pauses.push(pause)
    return pause
  }

  /** A process that died holds nothing any more. */
  died(who: string): void {
    const now = this.now()
    for (const hold of this.holds) if (hold.who === who && hold.to === Infinity) hold.to = now
    for (const pause of this.pauses) if (pause.who === who && pause.to === Infinity) pause.to = now
  }

  /** Fails unless all promises were kept. */
  check(limits?: Invariants.Limits): void {
    const first = Invariants.first(this, limits)
    if (first !== undefined) throw new Error(first)
  }
}

const keyOf = ({ Action, Fence, FileName, Heir, ID, Limit, Weight }: Protocol.Request): string =>
  `${Action} ${FileName} ${ID} ${Fence} ${Heir} ${Limit} ${Weight}`
