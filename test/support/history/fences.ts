/**
 * Each tenure has a fence of its own, and a later one a greater.
 */
import { byName, type Event, type Found, runInOrder } from "./checks.ts"
import type { Forgetting, Operation, Seen } from "./History.ts"
import { grantedFence } from "./tenures.ts"

/** What is known of fences: of all of a name, and of each of its owners. */
class Fences {
  private readonly fences = new Map<string, bigint>()

  of(owner = ""): bigint {
    return this.fences.get(owner) ?? -1n
  }

  add(fence: bigint, owner = ""): void {
    if (fence > this.of(owner)) this.fences.set(owner, fence)
  }
}

/** Owners of a name that have asked for some of a limit: what ends for one of them ends for no other. */
const sharersOf = (operations: ReadonlyArray<Operation>): ReadonlySet<string> =>
  new Set(operations.flatMap(({ heir, id, limit }) => limit === undefined ? [] : [heir ?? id, id]))

/**
 * A fence is one owner's, and greater than all that were known to be over before it was asked for. Of a mutex all that
 * were known before are over; of a limit, those of the owner itself once it has given its own back.
 */
export const fallingFences = ({ forgettings, operations }: Seen): Found => {
  const found: Found = []
  for (const [name, ofName] of byName(operations)) {
    const owners = new Map<bigint, string>()
    const sharers = sharersOf(ofName)
    const events: Array<Event> = []
    const known = new Fences()
    const over = new Fences()
    // All that is known when this begins is over when it has ended.
    const ends = ({ invoked, returned }: Operation | Forgetting, owner?: string) => {
      let before = -1n
      events.push({ order: invoked, asks: true, run: () => void (before = known.of(owner)) })
      events.push({ order: returned, asks: false, run: () => over.add(before, owner) })
    }
    const grant = ({ heir, id: asker, invoked, limit, meant, returned }: Operation, fence: bigint) => {
      const id = heir ?? asker
      const owner = owners.get(fence)
      if (owner !== undefined && owner !== id) found.push(`${name}: fence ${fence} is of ${owner} and of ${id}`)
      owners.set(fence, id)
      if (meant !== undefined && (heir === undefined ? fence !== meant : fence <= meant)) {
        found.push(`${name}: ${id} asked for fence ${meant}, and got fence ${fence}`)
      }
      let atLeast = -1n
      let above = -1n
      const look = () => {
        atLeast = limit === undefined ? known.of() : -1n
        above = [over.of(), over.of(id)].reduce((a, b) => a > b ? a : b)
      }
      const run = () => {
        if (fence < atLeast) found.push(`${name}: ${id} got fence ${fence} after ${atLeast}`)
        else if (fence <= above) found.push(`${name}: ${id} got fence ${fence}, which was over`)
        known.add(fence)
        known.add(fence, id)
      }
      events.push({ order: invoked, asks: true, run: look }, { order: returned, asks: false, run })
    }
    forgettings.forEach((forgetting) => ends(forgetting))
    for (const operation of ofName) {
      const { action, id, response } = operation
      const fence = grantedFence(operation)
      if (fence !== undefined) grant(operation, fence)
      else if (action === "Unlock" && response?.Status === "Unlocked" && response.ID !== undefined) {
        ends(operation, sharers.has(id) ? id : undefined)
      }
    }
    runInOrder(events)
    found.push(...fencesOutOfOrder(name, ofName.filter(({ heir, id }) => sharers.has(heir ?? id)), ofName))
  }
  return found
}

/** Each that has some of a limit has a fence greater than all that were known before it asked for the first time. */
const fencesOutOfOrder = (
  name: string,
  ofSharers: ReadonlyArray<Operation>,
  operations: ReadonlyArray<Operation>
): Found => {
  if (ofSharers.length === 0) return []
  // What had no answer may have begun the tenure, too.
  const asked = new Map<string, number>()
  const first = (owner: string, fence: bigint | undefined, order: number) => {
    const key = `${owner}\0${fence}`
    asked.set(key, Math.min(asked.get(key) ?? Infinity, order))
  }
  for (const { action, heir, id, invoked, response, ...operation } of ofSharers) {
    const fence = grantedFence({ ...operation, action, heir, id, invoked, response })
    if (fence !== undefined) first(heir ?? id, fence, invoked)
    else if (action === "Lock" && (response === undefined || response.Status === "NO")) {
      first(heir ?? id, undefined, invoked)
    }
  }
  const events: Array<Event> = []
  const known = new Fences()
  for (const operation of operations) {
    const fence = grantedFence(operation)
    if (fence !== undefined) events.push({ order: operation.returned, asks: false, run: () => known.add(fence) })
  }
  const found: Found = []
  for (const [key, order] of asked) {
    const [id, text] = key.split("\0") as [string, string]
    if (text === "undefined") continue
    const fence = BigInt(text)
    const run = () => {
      if (fence <= known.of()) found.push(`${name}: ${id} got fence ${fence} after ${known.of()}`)
    }
    events.push({ order: Math.min(order, asked.get(`${id}\0undefined`) ?? Infinity), asks: true, run })
  }
  runInOrder(events)
  return found
}
