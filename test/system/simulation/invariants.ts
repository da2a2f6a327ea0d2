/**
 * What must be true of every history, checked in near-linear time.
 */
import type { History, Hold, Operation } from "./History.ts"
import { Violation } from "./Simulator.ts"

/** How late a body may be stopped: a timer, rounded up, that is late. In milliseconds. */
const slack = 3

const byName = <A extends { readonly name: string }>(items: ReadonlyArray<A>): Iterable<[string, Array<A>]> =>
  Map.groupBy(items, ({ name }) => name)

export const check = (history: History): void => {
  answers(history)
  fences(history)
  holds(history)
  writes(history)
}

const impossible = new Set<string>(["BadPayload", "BadAction", "NO"])

const answers = ({ operations }: History): void => {
  for (const { action, id, name, response } of operations) {
    if (response !== undefined && impossible.has(response.Status)) {
      throw new Violation(`${action} ${name} by ${id} was answered ${response.Status}`)
    }
  }
}

// A fence is one owner's, and greater than all that were known, or given back, before it was asked for.
const fences = ({ crashes, operations }: History): void => {
  for (const [name, all] of byName(operations)) {
    const owners = new Map<bigint, string>()
    const events: Array<{ readonly order: number; readonly run: () => void }> = []
    let known = -1n
    let over = -1n
    for (const { order } of crashes) events.push({ order, run: () => over = known })
    for (const operation of all) {
      const { action, id, invoked, response, returned } = operation
      if (response === undefined) continue
      if (response.Status === "Locked" && action === "Lock" && response.Fence !== undefined) {
        const fence = BigInt(response.Fence)
        const owner = owners.get(fence)
        if (owner !== undefined && owner !== id) {
          throw new Violation(`${name}: fence ${fence} is of ${owner} and of ${id}`)
        }
        owners.set(fence, id)
        let atLeast = -1n
        let above = -1n
        events.push({ order: invoked, run: () => [atLeast, above] = [known, over] })
        events.push({
          order: returned,
          run: () => {
            if (fence < atLeast) throw new Violation(`${name}: ${id} got fence ${fence} after ${atLeast}`)
            if (fence <= above) throw new Violation(`${name}: ${id} got fence ${fence}, which was over`)
            if (fence > known) known = fence
          }
        })
      } else if (action === "Unlock" && response.Status === "Unlocked" && response.ID !== undefined) {
        let before = -1n
        events.push({ order: invoked, run: () => before = known })
        events.push({
          order: returned,
          run: () => {
            if (before > over) over = before
          }
        })
      }
    }
    events.sort((a, b) => a.order - b.order)
    for (const { run } of events) run()
  }
}

// Two never hold one name at once, nobody goes on after the deadline, or after hearing of the loss.
const holds = ({ crashes, holds, operations, pauses }: History): void => {
  const answersOf = Map.groupBy(
    operations.filter(({ response }) => response !== undefined),
    ({ id, name }) => `${name}\0${id}`
  )
  const definiteEnd = (hold: Hold): number => {
    const confirmations = (answersOf.get(`${hold.name}\0${hold.id}`) ?? []).toSorted((a, b) => a.returned - b.returned)
    let deadline = -Infinity
    let end = Infinity
    let why = "its deadline"
    for (const answer of confirmations) {
      if (answer.returnedAt > hold.to || answer.returnedAt > Math.max(deadline, hold.from) + slack) break
      if (confirms(answer, hold)) deadline = Math.max(deadline, answer.invokedAt + hold.lasts / hold.machine.rate)
      else if (answer.returnedAt >= hold.from && refuses(answer, hold)) {
        end = answer.returnedAt
        why = "it was told of the loss"
        break
      }
    }
    end = Math.min(end, deadline)
    // What does not run cannot stop; pauses may follow one another.
    let until = end
    for (const { from, machine, to } of pauses) {
      if (machine === hold.machine && from <= until + slack && to >= until) until = to
    }
    if (hold.to > until + slack) {
      throw new Violation(`${hold.machine.name} went on with ${hold.name} until ${hold.to}, after ${why} at ${until}`)
    }
    return until === end ? hold.to : Math.min(hold.to, end)
  }

  for (const [name, all] of byName(holds)) {
    all.sort((a, b) => a.from - b.from)
    let before: Array<{ readonly hold: Hold; readonly end: number }> = []
    for (const hold of all) {
      before = before.filter(({ end }) => end > hold.from)
      for (const { hold: other } of before) {
        // A server that forgot, and kept no grace, may grant once more.
        if (crashes.some(({ at, graceUntil }) => graceUntil === 0 && other.grantedAt <= at && at <= hold.from)) continue
        throw new Violation(
          `${other.machine.name} (${other.id}) and ${hold.machine.name} (${hold.id}) held ${name} at ${hold.from}`
        )
      }
      before.push({ hold, end: definiteEnd(hold) })
    }
  }
}

const confirms = ({ action, response }: Operation, { fence }: Hold): boolean =>
  action === "Lock" && response?.Status === "Locked" && response.Fence === String(fence)

const refuses = ({ action, response }: Operation, { fence }: Hold): boolean =>
  action === "Lock" &&
  (response?.Status === "NotOwner" || (response?.Status === "Locked" && response.Fence !== String(fence)))

// Whoever writes does so under the newest fence that the resource has seen.
const writes = ({ writes }: History): void => {
  for (const [name, all] of byName(writes)) {
    let newest = -1n
    for (const { at, fence } of all) {
      if (fence < newest) {
        throw new Violation(`a stale holder wrote to ${name} at ${at}: fence ${fence} after ${newest}`)
      }
      newest = fence
    }
  }
}
