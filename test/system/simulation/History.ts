/**
 * What was asked and answered when, who held what, and what was written: all
 * that the checks look at.
 */
import type { Protocol } from "effect-dlm/protocol"
import type { Machine, Simulator } from "./Simulator.ts"

/** A request of a client. Without an answer it may have happened or not, at any time since. */
export interface Operation {
  readonly who: string
  readonly id: string
  readonly name: string
  readonly action: Protocol.Action
  /** In milliseconds of the server's clock. */
  readonly ttl: number
  readonly wait: number
  readonly data: string | undefined
  /** Its place among all events. */
  readonly invoked: number
  readonly invokedAt: number
  returned: number
  returnedAt: number
  response: Protocol.Response | undefined
  /** When the server had its answer, and which, as far as that can be told. */
  served: { readonly order: number; readonly status: Protocol.Response["Status"] } | undefined
}

/** The time of a body under a lease. */
export interface Hold {
  readonly machine: Machine
  readonly name: string
  readonly id: string
  readonly fence: bigint
  /** In milliseconds of the client's clock, after the sending of a request, until when it may rely on it. */
  readonly lasts: number
  /** Not before this was it granted. */
  readonly grantedAt: number
  readonly from: number
  to: number
  /** Whether it came to its end by itself, or was cut off with its machine. */
  ended: boolean
}

/** A write at the resource that the lock protects, which was let through. */
export interface Write {
  readonly name: string
  readonly fence: bigint
  readonly at: number
}

/** The server lost its memory, and grants nothing until its grace ends. */
export interface Crash {
  readonly order: number
  readonly at: number
  graceUntil: number
}

export interface Pause {
  readonly machine: Machine
  readonly from: number
  to: number
}

export class History {
  readonly operations: Array<Operation> = []
  readonly holds: Array<Hold> = []
  readonly writes: Array<Write> = []
  readonly crashes: Array<Crash> = []
  readonly pauses: Array<Pause> = []
  /** Requests that were answered or have failed. */
  completed = 0
  /** Writes that the guard refused. */
  refused = 0
  private order = 0
  private readonly sim: Simulator
  private readonly unserved = new Map<string, Array<Operation>>()
  private readonly firstAsked = new Map<string, number>()
  private readonly byName = new Map<string, number>()

  constructor(sim: Simulator) {
    this.sim = sim
  }

  operationsOn(name: string): number {
    return this.byName.get(name) ?? 0
  }

  invoke(who: string, request: Protocol.Request): Operation {
    const operation: Operation = {
      who,
      id: request.ID,
      name: request.FileName,
      action: request.Action,
      ttl: request.Expire * 1000,
      wait: request.Wait ?? 0,
      data: request.DataStore,
      invoked: this.order++,
      invokedAt: this.sim.now,
      returned: Infinity,
      returnedAt: Infinity,
      response: undefined,
      served: undefined
    }
    this.operations.push(operation)
    const key = keyOf(request)
    const owned = `${operation.name} ${operation.id}`
    if (!this.firstAsked.has(owned)) this.firstAsked.set(owned, this.sim.now)
    const alike = this.unserved.get(key)
    if (alike === undefined) this.unserved.set(key, [operation])
    else alike.push(operation)
    this.byName.set(operation.name, this.operationsOn(operation.name) + 1)
    this.sim.note(
      who,
      `asks ${operation.action} ${operation.name} ${operation.id} ttl=${operation.ttl} wait=${operation.wait}`
    )
    return operation
  }

  /** The server had this answer to such a request: most likely it was the last that nobody saw served. */
  served(request: Protocol.Request, response: Protocol.Response): void {
    const operation = this.unserved.get(keyOf(request))?.pop()
    if (operation !== undefined) operation.served = { order: this.order++, status: response.Status }
  }

  answer(operation: Operation, response: Protocol.Response): void {
    this.completed++
    this.sim.note(
      operation.who,
      `hears ${operation.action} ${operation.name} ${operation.id} ${JSON.stringify(response)}`
    )
    // Another's answer says nothing of this request.
    if ("ID" in response && response.ID !== undefined && response.ID !== operation.id) return
    operation.returned = this.order++
    operation.returnedAt = this.sim.now
    operation.response = response
  }

  noAnswer(operation: Operation, failed: boolean): void {
    if (failed) this.completed++
    this.sim.note(operation.who, `hears nothing ${operation.action} ${operation.name} ${operation.id}`)
  }

  hold(machine: Machine, name: string, id: string, fence: bigint, lasts: number): Hold {
    const grantedAt = this.firstAsked.get(`${name} ${id}`) ?? this.sim.now
    const hold = { machine, name, id, fence, lasts, grantedAt, from: this.sim.now, to: Infinity, ended: false }
    this.holds.push(hold)
    this.sim.note(machine.name, `holds ${name} ${id} fence=${fence}`)
    return hold
  }

  release(hold: Hold): void {
    if (hold.ended) return
    hold.ended = true
    hold.to = this.sim.now
    this.sim.note(hold.machine.name, `ends ${hold.name} ${hold.id}`)
  }

  write(name: string, fence: bigint): void {
    this.writes.push({ name, fence, at: this.sim.now })
    this.sim.note("resource", `write ${name} fence=${fence}`)
  }

  refuse(name: string, fence: bigint): void {
    this.refused++
    this.sim.note("resource", `refuses ${name} fence=${fence}`)
  }

  crash(): Crash {
    const crash = { order: this.order++, at: this.sim.now, graceUntil: 0 }
    this.crashes.push(crash)
    return crash
  }

  /** A machine that died holds nothing any more. */
  died(machine: Machine): void {
    for (const hold of this.holds) if (hold.machine === machine && hold.to === Infinity) hold.to = this.sim.now
    for (const pause of this.pauses) if (pause.machine === machine && pause.to === Infinity) pause.to = this.sim.now
  }
}

const keyOf = ({ Action, FileName, ID }: Protocol.Request): string => `${Action} ${FileName} ${ID}`
