/**
 * Who waits for whom, and who of them for ever. Pure.
 *
 * Whoever asks for a name says by digests which tenures do not end before it has it, or has failed (`Within`). So a tenure
 * waits for all requests that name it, and a request for the holders that leave it no room, and for those that came before
 * it for the same name. Struck out is whoever can still go:
 *
 * - a holder that no request names, or only such as were struck out: its body works, and will end;
 * - a request before which none is left, and that fits beside the holders that are left; or that would be refused.
 *
 * It is gone on with until nobody is struck out any more. Who is left is deadlocked. Let there be, for a contradiction, a
 * first of them to go. If it is a holder, a request that names it has come to its end before; this is left as well, so it
 * would be the first. If it is a request, then it was let in, since its own time is not over and nobody has withdrawn it.
 * So all that came before it had gone, and it fitted: so one of the holders beside which it did not fit had gone before, or
 * one of the requests before it. All of these are left too, or it would have been struck out. Who comes later, or is let in
 * meanwhile, takes room and makes none.
 *
 * Several requests of one owner are one claim, with one place in the queue. Each waits for what the claim does, so it stands
 * beside it; the place is gone when the claim is let in, or all of them have failed. So only those fail that are within what is
 * stuck, and the others keep the place.
 *
 * What is assumed of those struck out is always the best: that each is let in at once, and ends. So what is not known (a
 * holder that others name at another server, a request whose grant is on its way, a body that waits for something else than
 * a lock) makes a deadlock unseen, and none that is not there. What is not seen, therefore: requests at other servers; a
 * fiber that a body has forked, for which the body need not wait; owners that several have; sections of one lease that
 * wait for each other; and more than 16 tenures around one another. And what ends by itself is not foreseen: a wait whose
 * time is about to be over, an interruption from outside, a scope that another fiber closes, `maxHold`, a revocation.
 */
import type { Waits } from "../protocol/Protocol.ts"
import type { Limit, Weight } from "../store/Store.ts"

/** A request that waits for a name, or the place of a claim in its queue. */
export interface Waiting<Asker = unknown> {
  /** Who asks. When all of them have failed, it is gone. */
  readonly by: ReadonlyArray<Asker>
  /** The greater, the later it came. */
  readonly came: number
  /** What it asks for; without a limit it is a mutex. */
  readonly limit: Limit | undefined
  readonly weight: Weight
  /** The digests of the tenures that do not end before it. */
  readonly within: ReadonlyArray<string>
  /** Whether it stands in the queue, so that those behind it wait for it. */
  readonly stands: boolean
  readonly label: string | undefined
}

/** Who holds a name. */
export interface Holding {
  readonly digest: string
  readonly weight: Weight
  readonly label: string | undefined
}

/** A name: how it is held, by whom, and who waits for it, in the order of their coming. */
export interface Name<W extends Waiting = Waiting> {
  readonly name: string
  readonly limit: Limit | undefined
  readonly holders: ReadonlyArray<Holding>
  readonly waiting: ReadonlyArray<W>
}

/** One of those who ask by one claim. */
export interface Asking<Asker> extends Pick<Waiting, "came" | "within"> {
  readonly by: Asker
}

/** What a claim comes to: those of its requests that are within a tenure, and then its place in the queue. */
export const claimed = <Asker>(
  claim: Pick<Waiting, "came" | "limit" | "weight" | "label">,
  asking: ReadonlyArray<Asking<Asker>>
): ReadonlyArray<Waiting<Asker>> => [
  ...asking.flatMap(({ by, came, within }) =>
    within.length === 0 ? [] : [{ ...claim, by: [by], came, within, stands: false }]
  ),
  { ...claim, by: asking.map(({ by }) => by), within: [], stands: true }
]

/** Some that wait for one another. */
export interface Deadlock<W extends Waiting = Waiting> {
  /** The one that came last. When it fails, others can go. */
  readonly youngest: W
  /** What is waited for in turn, and who has it, or comes before: that of the youngest first. */
  readonly cycle: ReadonlyArray<Waits>
}

/** More of a cycle are not told. */
const maxCycle = 32

/** What is left of a name while others are struck out. */
class Rest<W extends Waiting> {
  readonly of: Name<W>
  holders: Set<Holding>
  readonly waiting: Set<W>
  private weight = 0
  private writers = 0

  constructor(of: Name<W>) {
    this.of = of
    this.holders = new Set(of.holders)
    this.waiting = new Set(of.waiting)
    for (const holder of of.holders) this.weigh(holder, 1)
  }

  private weigh({ weight }: Holding, sign: number): void {
    if (weight === "all") this.writers += sign
    else this.weight += sign * weight
  }

  strike(holder: Holding): void {
    if (this.holders.delete(holder)) this.weigh(holder, -1)
  }

  /** Whether a request would be let in beside the holders that are left, or refused. */
  admits({ limit, weight }: Waiting): boolean {
    if (this.holders.size === 0) return true
    if (limit === undefined || this.of.limit === undefined) return false
    // It would be told that there is another limit.
    if (limit !== this.of.limit) return true
    // mutant: readers-together
    if (limit === "shared") return weight === 1 && this.writers === 0
    // mutant: weights-leave-room
    return weight !== "all" && this.weight + weight <= limit
  }

  /** Those that are to be struck out now. */
  *going(): Generator<W, void> {
    for (const waiting of this.waiting) {
      if (this.admits(waiting)) yield waiting
      // mutant: none-passes
      else if (waiting.stands) return
    }
  }
}

/** Strikes out whoever can still go. `isKnown` says of which requests it is certain that they wait. */
const remaining = <W extends Waiting>(
  names: ReadonlyArray<Name<W>>,
  isKnown: (waiting: W) => boolean
): ReadonlyArray<Rest<W>> => {
  const rests = names.map((name) => new Rest(name))
  const held = new Map<string, { readonly rest: Rest<W>; readonly holder: Holding }>()
  for (const rest of rests) {
    for (const holder of rest.of.holders) {
      // Nobody can say that it is within a tenure that is not known: it may end at any time.
      if (holder.digest === "") rest.strike(holder)
      else held.set(holder.digest, { rest, holder })
    }
  }
  /** How many requests that are left name a holder. */
  const named = new Map<string, number>()
  const toLookAt = new Set(rests)
  const end = (digest: string) => {
    const it = held.get(digest)
    if (it === undefined) return
    it.rest.strike(it.holder)
    toLookAt.add(it.rest)
  }
  const leave = (rest: Rest<W>, waiting: W) => {
    rest.waiting.delete(waiting)
    for (const digest of waiting.within) {
      const left = named.get(digest)! - 1
      named.set(digest, left)
      if (left === 0) end(digest)
    }
  }
  for (const { of } of rests) {
    for (const { within } of of.waiting) for (const digest of within) named.set(digest, (named.get(digest) ?? 0) + 1)
  }
  for (const digest of held.keys()) if (!named.has(digest)) end(digest)
  for (const rest of rests) for (const waiting of rest.of.waiting) if (!isKnown(waiting)) leave(rest, waiting)
  for (const rest of toLookAt) {
    toLookAt.delete(rest)
    for (const waiting of rest.going()) leave(rest, waiting)
  }
  return rests
}

/** Those that wait for ever: none of them in most cases. */
export const stuckIn = <W extends Waiting>(
  names: ReadonlyArray<Name<W>>,
  isKnown: (waiting: W) => boolean
): Set<W> => new Set(remaining(names, isKnown).flatMap(({ waiting }) => Array.from(waiting)))

/** A request that is left, a holder, or a name whose holders leave no room: something that waits for others. */
interface Node<W extends Waiting> {
  readonly next: Array<Node<W>>
  readonly waiting?: W
  readonly holder?: Holding
  readonly name: string
  /** When it was first seen; the earliest that can be reached from it; whether it is on the path there. */
  seen: number
  low: number
  isOpen: boolean
}

const nodeOf = <W extends Waiting>(name: string, what: Pick<Node<W>, "waiting" | "holder"> = {}): Node<W> => ({
  ...what,
  name,
  next: [],
  seen: 0,
  low: 0,
  isOpen: false
})

// Edges to all that came before are those to the last before, which has the others; and those to all holders are to the
// name, once, which has them: so there are as many edges as there are of both.
const graphOf = <W extends Waiting>(rests: ReadonlyArray<Rest<W>>): ReadonlyArray<Node<W>> => {
  const requests: Array<Node<W>> = []
  const holders = new Map<string, Node<W>>()
  for (const rest of rests) {
    const { name } = rest.of
    const all = nodeOf<W>(name)
    for (const holder of rest.holders) {
      const node = nodeOf<W>(name, { holder })
      holders.set(holder.digest, node)
      all.next.push(node)
    }
    let before: Node<W> | undefined
    for (const waiting of rest.waiting) {
      const node = nodeOf<W>(name, { waiting })
      requests.push(node)
      // The holders first: they are what the shortest cycle is to go by.
      if (!rest.admits(waiting)) node.next.push(all)
      if (before !== undefined) node.next.push(before)
      if (waiting.stands) before = node
    }
  }
  for (const node of requests) for (const digest of node.waiting!.within) holders.get(digest)?.next.push(node)
  return requests
}

/** Of all that lead to each other the request that came last, by Tarjan's algorithm, without a stack of calls. */
const youngestIn = <W extends Waiting>(requests: ReadonlyArray<Node<W>>): ReadonlyArray<Node<W>> => {
  let count = 0
  const found: Array<Node<W>> = []
  const open: Array<Node<W>> = []
  const enter = (node: Node<W>) => {
    node.seen = node.low = ++count
    node.isOpen = true
    open.push(node)
    return { node, at: 0 }
  }
  // Whoever is in a cycle is there with another.
  const close = (root: Node<W>) => {
    const isAlone = open.at(-1) === root
    let youngest: Node<W> | undefined
    for (let node = open.pop()!;; node = open.pop()!) {
      node.isOpen = false
      const { waiting } = node
      // Whoever names no tenure would fail in vain: each cycle has one that does.
      const mayFail = !isAlone && waiting !== undefined && waiting.within.length > 0
      if (mayFail && waiting.came > (youngest?.waiting!.came ?? -1)) youngest = node
      if (node === root) break
    }
    if (youngest !== undefined) found.push(youngest)
  }
  for (const start of requests) {
    if (start.seen > 0) continue
    const path = [enter(start)]
    while (path.length > 0) {
      const top = path.at(-1)!
      const { node } = top
      const next = node.next[top.at++]
      if (next !== undefined) {
        if (next.seen === 0) path.push(enter(next))
        else if (next.isOpen) node.low = Math.min(node.low, next.seen)
        continue
      }
      path.pop()
      if (node.low === node.seen) close(node)
      const above = path.at(-1)?.node
      if (above !== undefined) above.low = Math.min(above.low, node.low)
    }
  }
  return found
}

/** The shortest way from a request to itself: what each waits for, and who has it. */
const cycleOf = <W extends Waiting>(youngest: Node<W>): ReadonlyArray<Waits> => {
  /** From where each was reached. */
  const reached = new Map<Node<W>, Node<W>>()
  const queue = [youngest]
  for (const node of queue) {
    for (const next of node.next) {
      if (reached.has(next)) continue
      reached.set(next, node)
      if (next === youngest) break
      queue.push(next)
    }
    if (reached.has(youngest)) break
  }
  const cycle: Array<Waits> = []
  for (let to = youngest; cycle.length === 0 || to !== youngest; to = reached.get(to)!) {
    const { holder, name, waiting } = to
    const from = reached.get(to)
    // A name stands between a request and its holders.
    const isWaitedFor = holder !== undefined || from?.waiting !== undefined && waiting !== undefined
    const label = (holder ?? waiting)?.label
    if (isWaitedFor) cycle.push({ FileName: name, ...(label === undefined ? {} : { Label: label }) })
  }
  return cycle.toReversed().slice(0, maxCycle)
}

/**
 * Who is to fail, so that all others can go: of each cycle the youngest request, and none in vain; at the most `most` of
 * them, those that have waited longest. Only those that are known to wait count.
 */
export const deadlocksIn = <W extends Waiting>(
  names: ReadonlyArray<Name<W>>,
  isKnown: (waiting: W) => boolean,
  most: number
): ReadonlyArray<Deadlock<W>> => {
  const deadlocks = new Map<W, Deadlock<W>>()
  const rest = () => {
    const failed = new Set(Array.from(deadlocks.keys()).flatMap(({ by }) => by))
    return remaining(names, (waiting) => isKnown(waiting) && !waiting.by.every((one) => failed.has(one)))
  }
  while (deadlocks.size < most) {
    const found = youngestIn(graphOf(rest())).toSorted((one, other) => one.waiting!.came - other.waiting!.came)
    if (found.length === 0) break
    for (const youngest of found.slice(0, most - deadlocks.size)) {
      deadlocks.set(youngest.waiting!, { youngest: youngest.waiting!, cycle: cycleOf(youngest) })
    }
  }
  if (deadlocks.size === 1) return Array.from(deadlocks.values())
  // Of two cycles that have one in common that one may be enough, and not the youngest of both.
  for (const [youngest, deadlock] of Array.from(deadlocks)) {
    deadlocks.delete(youngest)
    if (rest().some(({ waiting }) => waiting.has(youngest))) deadlocks.set(youngest, deadlock)
  }
  return Array.from(deadlocks.values())
}

/** So many steps there may be to find out who is to fail: some 10 ms. */
const mostSteps = 40_000

/** How many can fail at a time, so that it takes a bounded time: each is a look at all. */
export const mostOf = (names: ReadonlyArray<Name>): number => {
  let size = 1
  for (const { holders, waiting } of names) {
    size += holders.length
    for (const { within } of waiting) size += 1 + within.length
  }
  return Math.max(1, Math.floor(mostSteps / size))
}
