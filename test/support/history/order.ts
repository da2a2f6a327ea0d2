/**
 * Whether what was answered can be put in one order that the model allows, and in which nothing comes before what had
 * ended when it began: the search of Wing and Gong, with the memory of Lowe, for each name by itself.
 *
 * A request without an answer may take effect at any time after it was asked, or never. What the server itself did is no
 * more than a hint where to look first: an order that is found is a proof, wherever it came from.
 */
import { Seeded } from "../random.ts"
import type { Forgetting, Operation, Seen as History } from "./History.ts"
import { apply, initial, type State, type Step } from "./model.ts"
import { askedOf } from "./permits.ts"
import { grantedFence } from "./tenures.ts"

/** How many states may be looked at for a name. Not to know then is a failure too. */
const budget = 100_000

/** After such a time no request that waits is still known to the server. */
export interface Bounds {
  readonly serverRate: number
  readonly late: number
}

/** What came of a search: how many states it looked at, and what has no order, if anything. */
export interface Searched {
  readonly looked: number
  readonly violation?: string
}

/** Searches for an order of what was asked of each name. */
export const search = (history: Pick<History, "operations" | "forgettings">, bounds: Bounds): Searched => {
  let looked = 0
  for (const [name, operations] of Map.groupBy(history.operations, ({ name }) => name)) {
    if (name === "") continue
    const all = steps(operations, history.forgettings, bounds)
    // Most often what the server was seen to do is enough to explain it.
    const seen = searchName(name, all.filter(({ returned, served }) => returned < Infinity || served < Infinity))
    const found = seen.violation === undefined ? seen : searchName(name, all)
    looked += found.looked
    if (found.violation !== undefined) return { looked, violation: found.violation }
  }
  return { looked }
}

const changes = new Set<string>(["Locked", "Unlocked", "Done", "Corruption"])
const mattersUnheard = new Set<string>(["Lock", "Put", "Unlock", "Erase"])

const steps = (
  operations: ReadonlyArray<Operation>,
  forgettings: ReadonlyArray<Forgetting>,
  bounds: Bounds
): Array<Step> => {
  const numbers = new Map<string, number>()
  const numberOf = (id: string) => {
    const number = numbers.get(id) ?? numbers.size
    numbers.set(id, number)
    return number
  }
  const fences = new Map(
    Array.from(new Set(operations.flatMap((operation) => grantedFence(operation) ?? [])))
      .toSorted((a, b) => a < b ? -1 : 1).map((fence, i) => [fence, i + 1])
  )
  const contends = contending(operations, bounds)
  const asked = operations.filter(({ action, response }) => response !== undefined || mattersUnheard.has(action))
    .map((operation): Step => {
      const { heir, id, invoked, invokedAt, meant, response, returned, returnedAt, served, ttl } = operation
      const isHint = served !== undefined && (response !== undefined || changes.has(served.status))
      return {
        operation,
        graceUntil: 0,
        owner: numberOf(id),
        fence: fences.get(grantedFence(operation) ?? -1n) ?? 0,
        asked: askedOf(operation),
        // Of one that nobody was told of there is no tenure.
        meant: meant === undefined ? undefined : meant === 0n ? 0 : fences.get(meant) ?? -2,
        heir: heir === undefined ? undefined : numberOf(heir),
        invoked,
        returned,
        invokedAt,
        returnedAt,
        served: isHint ? served.order : Infinity,
        contended: operation.response?.Status === "NotOwner" && contends(operation),
        conflicts: operation.response?.Status === "Conflict" && contends(operation),
        ttl: ttl / bounds.serverRate
      }
    })
  return [...asked, ...forgettings.map(restart)].toSorted((a, b) => a.returned - b.returned || a.invoked - b.invoked)
}

const restart = ({ graceUntil, invoked, invokedAt, returned, returnedAt }: Forgetting): Step => ({
  operation: undefined,
  graceUntil,
  owner: -1,
  fence: 0,
  asked: undefined,
  meant: undefined,
  heir: undefined,
  invoked,
  returned,
  invokedAt,
  returnedAt,
  served: invoked,
  contended: false,
  conflicts: false,
  ttl: 0
})

/** Whether a request may have been refused since another waited; or told of the limit that one that waited has named. */
const contending = (operations: ReadonlyArray<Operation>, { late }: Bounds) => {
  const waiting = operations.filter(({ wait }) => wait > 0)
  const waitedMeanwhile = (one: Operation, other: Operation): boolean =>
    other.invoked < one.returned &&
    (other.response === undefined
      ? other.invokedAt + late + other.wait > one.invokedAt
      : other.returned > one.invoked)
  return (one: Operation): boolean => {
    const { action, id, response } = one
    if (response?.Status === "Conflict") {
      return waiting.some((other) => other.limit === response.Limit && waitedMeanwhile(one, other))
    }
    return (action === "Lock" || action === "Put") &&
      waiting.some((other) => other.id !== id && waitedMeanwhile(one, other))
  }
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
interface Looked {
  readonly unheard: bigint
  readonly state: State
}

// What is the same of states that are compared by their ends.
const sameOf = ({ data, fence, newest, owner, permits }: State): string =>
  permits === undefined
    ? `${owner} ${fence} ${newest} ${data}`
    : `${permits.limit} ${newest} ` + permits.holders.map(({ above, below, fence, owner, weight }) =>
      `${owner} ${weight} ${fence === -1 ? `${above} ${below}` : fence}`
    ).join(",")

const endIncluded = (
  one: Pick<State, "endsFrom" | "endsBy">,
  other: Pick<State, "endsFrom" | "endsBy">
): boolean => one.endsFrom <= other.endsFrom && one.endsBy >= other.endsBy

const endsIncluded = (one: State, other: State): boolean =>
  one.permits === undefined ||
  one.permits.holders.every((held, i) => endIncluded(held, other.permits!.holders[i]!))

// Whatever can follow the other can follow this one too.
const includes = (one: Looked, other: Looked): boolean =>
  (one.unheard & other.unheard) === one.unheard && one.state.now <= other.state.now &&
  endIncluded(one.state, other.state) && endsIncluded(one.state, other.state)

const searchName = (name: string, all: ReadonlyArray<Step>): Searched => {
  const random = new Seeded(all.length)
  const keys = all.map(() => random.uint32() * 2 ** 21 + (random.uint32() >>> 11))
  const heard = all.findIndex(({ returned }) => returned === Infinity)
  const end = heard === -1 ? all.length : heard
  if (end === 0) return { looked: 0 }
  const taken = new Uint8Array(all.length)
  const choices = choosing(all, end, taken)
  const seen = new Map<string, Array<Looked>>()
  let looked = 0
  let furthest = 0
  const stack: Array<Frame> = []
  const push = (state: State, at: number, key: number, done: number, unheard: bigint) =>
    stack.push({ state, at, key, done, unheard, choices: choices(state, done) })
  push(initial, -1, 0, 0, 0n)
  while (stack.length > 0) {
    const frame = stack.at(-1)!
    const chosen = frame.choices.next()
    if (chosen.done) {
      stack.pop()
      if (frame.at !== -1) taken[frame.at] = 0
      continue
    }
    if (++looked > budget) {
      return { looked, violation: stuck(name, end, all[furthest]!, "was found: not all were tried") }
    }
    const [i, state] = chosen.value
    const key = i < end ? xor(frame.key, keys[i]!) : frame.key
    const unheard = i < end ? frame.unheard : frame.unheard | (1n << BigInt(i - end))
    const now: Looked = { unheard, state }
    const same = `${key} ${sameOf(state)}`
    const others = seen.get(same)
    if (others === undefined) seen.set(same, [now])
    else if (others.some((other) => includes(other, now))) continue
    else others.push(now)
    taken[i] = 1
    let { done } = frame
    while (done < end && taken[done] === 1) done++
    if (done === end) return { looked }
    furthest = Math.max(furthest, done)
    push(state, i, key, done, unheard)
  }
  return { looked, violation: stuck(name, end, all[furthest]!, "can be true") }
}

/** What may come next in the order, from a state in which all requests before `done`, and those in `taken`, have come. */
const choosing = (all: ReadonlyArray<Step>, end: number, taken: Uint8Array) => {
  // Of those that ask the same, the one that was asked first can do all that the others can.
  const alike = all.map(({ asked, heir, meant, operation, owner }, i) =>
    i < end
      ? ""
      : `${owner} ${operation!.action} ${operation!.ttl} ${
        operation!.data
      } ${meant} ${heir} ${asked?.limit} ${asked?.weight}`
  )
  // First as the server took them: most often that is an order. The others without an answer come last.
  const likely = all.map((_, i) => i).toSorted((a, b) => all[a]!.served - all[b]!.served || a - b)

  return function*(state: State, done: number): Generator<readonly [number, State], void> {
    // All that began after one that is still to come had ended comes after it.
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
}

const stuck = (name: string, end: number, { operation }: Step, truth: string): string =>
  `${name}: no order of its ${end} requests ${truth}; none goes beyond ${operation?.action} by ${operation?.id} at ` +
  `${operation?.returnedAt}: ${JSON.stringify(operation?.response)}`

// Beyond 32 bits.
const xor = (a: number, b: number): number =>
  ((Math.floor(a / 2 ** 32) ^ Math.floor(b / 2 ** 32)) >>> 0) * 2 ** 32 + ((a ^ b) >>> 0)
