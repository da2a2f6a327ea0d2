/**
 * Whether what was answered can be put in one order that the model allows, and
 * in which nothing comes before what had ended when it began: the search of
 * Wing and Gong, with the memory of Lowe, for each name by itself.
 *
 * A request without an answer may take effect at any time after it was asked,
 * or never. What the server itself did is no more than a hint where to look
 * first: an order that is found is a proof, wherever it came from.
 */
import { Seeded } from "../../support/random.ts"
import type { Crash, History, Operation } from "./History.ts"
import { apply, initial, type State, type Step } from "./model.ts"
import { Violation } from "./Simulator.ts"

/** How many states may be looked at for a name. Not to know then is a failure too. */
const budget = 100_000

/** After such a time no request that waits is still known to the server. */
export interface Bounds {
  readonly serverRate: number
  readonly late: number
}

/** Gives how many states were looked at. */
export const check = (history: History, bounds: Bounds): number => {
  let looked = 0
  for (const [name, operations] of Map.groupBy(history.operations, ({ name }) => name)) {
    if (name === "") continue
    const all = steps(operations, history.crashes, bounds)
    // Most often what the server was seen to do is enough to explain it.
    const seen = checkName(name, all.filter(({ returned, served }) => returned < Infinity || served < Infinity))
    const found = seen instanceof Violation ? checkName(name, all) : seen
    if (found instanceof Violation) throw found
    looked += found
  }
  return looked
}

const changes = new Set<string>(["Locked", "Unlocked", "Done", "Corruption"])
const mattersUnheard = new Set<string>(["Lock", "Put", "Unlock", "Erase"])

const steps = (
  operations: ReadonlyArray<Operation>,
  crashes: ReadonlyArray<Crash>,
  { late, serverRate }: Bounds
): Array<Step> => {
  const owners = new Map<string, number>()
  const ownerOf = (id: string) => {
    const owner = owners.get(id) ?? owners.size
    owners.set(id, owner)
    return owner
  }
  const fenceOf = ({ response }: Operation) =>
    response?.Status === "Locked" && response.Fence !== undefined ? BigInt(response.Fence) : undefined
  const fences = new Map(
    Array.from(new Set(operations.flatMap((operation) => fenceOf(operation) ?? [])))
      .toSorted((a, b) => a < b ? -1 : 1).map((fence, i) => [fence, i + 1])
  )
  const waiting = operations.filter(({ wait }) => wait > 0)
  const contends = (one: Operation) =>
    one.response?.Status === "NotOwner" && (one.action === "Lock" || one.action === "Put") &&
    waiting.some((other) =>
      other.id !== one.id && other.invoked < one.returned &&
      (other.response === undefined
        ? other.invokedAt + late + other.wait > one.invokedAt
        : other.returned > one.invoked)
    )
  const all = operations.filter(({ action, response }) => response !== undefined || mattersUnheard.has(action))
    .map((operation): Step => {
      const fence = fenceOf(operation)
      const { served } = operation
      return {
        operation,
        graceUntil: 0,
        owner: ownerOf(operation.id),
        fence: fence === undefined ? 0 : fences.get(fence)!,
        invoked: operation.invoked,
        returned: operation.returned,
        invokedAt: operation.invokedAt,
        returnedAt: operation.returnedAt,
        served: served !== undefined && (operation.response !== undefined || changes.has(served.status))
          ? served.order
          : Infinity,
        contended: contends(operation),
        ttl: operation.ttl / serverRate
      }
    })
  for (const { at, graceUntil, order } of crashes) {
    all.push({
      operation: undefined,
      graceUntil,
      owner: -1,
      fence: 0,
      invoked: order,
      returned: order,
      invokedAt: at,
      returnedAt: at,
      served: order,
      contended: false,
      ttl: 0
    })
  }
  return all.toSorted((a, b) => a.returned - b.returned || a.invoked - b.invoked)
}

/** A point of the search: a state, what led to it, and what is still to be tried there. */
interface Frame {
  readonly state: State
  readonly at: number
  /** Of the answered ones that are in order, by their keys; and how many of them are all the first. */
  readonly key: number
  readonly done: number
  /** The unanswered ones that are in order, as bits. */
  readonly unheard: bigint
  readonly choices: Iterator<readonly [number, State]>
}

/** What was looked at, of the same answered requests, owner, fence and data. */
interface Seen {
  readonly unheard: bigint
  readonly state: State
}

// Whatever can follow the other can follow this one too.
const includes = (one: Seen, other: Seen): boolean =>
  (one.unheard & other.unheard) === one.unheard && one.state.now <= other.state.now &&
  one.state.endsFrom <= other.state.endsFrom && one.state.endsBy >= other.state.endsBy

const checkName = (name: string, all: ReadonlyArray<Step>): number | Violation => {
  const random = new Seeded(all.length)
  const keys = all.map(() => random.uint32() * 2 ** 21 + (random.uint32() >>> 11))
  const heard = all.findIndex(({ returned }) => returned === Infinity)
  const end = heard === -1 ? all.length : heard
  // Of those that ask the same, the one that was asked first can do whatever the others can.
  const alike = all.map(({ operation, owner }, i) =>
    i < end ? "" : `${owner} ${operation!.action} ${operation!.ttl} ${operation!.data}`
  )
  const taken = new Uint8Array(all.length)
  const seen = new Map<string, Array<Seen>>()

  // First as the server took them: most often that is an order. The others of which nobody heard come last.
  const likely = all.map((_, i) => i).toSorted((a, b) => all[a]!.served - all[b]!.served || a - b)

  function* choices(state: State, done: number): Generator<readonly [number, State], void> {
    // Whatever began after one that is still to come had ended comes after it.
    const { returned: before, returnedAt: latest } = all[done]!
    const tried = new Set<string>()
    for (const i of likely) {
      const step = all[i]!
      if (taken[i] === 1 || step.invoked > before) continue
      if (i >= end) {
        if (tried.has(alike[i]!)) continue
        tried.add(alike[i]!)
      }
      // It took effect before what is still to come, and so before that was answered.
      for (const after of apply(state, step, Math.min(step.returnedAt, latest))) yield [i, after]
    }
  }

  let looked = 0
  let furthest = 0
  const stuck = (truth: string) => {
    const { operation } = all[furthest]!
    return new Violation(
      `${name}: no order of its ${end} requests ${truth}; none goes beyond ${operation?.action} by ${operation?.id} at ` +
        `${operation?.returnedAt}: ${JSON.stringify(operation?.response)}`
    )
  }
  const stack: Array<Frame> = []
  const push = (state: State, at: number, key: number, done: number, unheard: bigint) =>
    stack.push({ state, at, key, done, unheard, choices: choices(state, done) })
  if (end > 0) push(initial, -1, 0, 0, 0n)
  else return 0
  while (stack.length > 0) {
    const frame = stack.at(-1)!
    const chosen = frame.choices.next()
    if (chosen.done) {
      stack.pop()
      if (frame.at !== -1) taken[frame.at] = 0
      continue
    }
    if (++looked > budget) return stuck("may be true: not all were tried")
    const [i, state] = chosen.value
    const key = i < end ? xor(frame.key, keys[i]!) : frame.key
    const unheard = i < end ? frame.unheard : frame.unheard | (1n << BigInt(i - end))
    const now: Seen = { unheard, state }
    const same = `${key} ${state.owner} ${state.fence} ${state.newest} ${state.data}`
    const others = seen.get(same)
    if (others === undefined) seen.set(same, [now])
    else if (others.some((other) => includes(other, now))) continue
    else others.push(now)
    taken[i] = 1
    let { done } = frame
    while (done < end && taken[done] === 1) done++
    if (done === end) return looked
    furthest = Math.max(furthest, done)
    push(state, i, key, done, unheard)
  }
  return stuck("can be true")
}

// Beyond 32 bits.
const xor = (a: number, b: number): number =>
  ((Math.floor(a / 2 ** 32) ^ Math.floor(b / 2 ** 32)) >>> 0) * 2 ** 32 + ((a ^ b) >>> 0)
