/**
 * At one server those who wait for a name are served in the order of their coming: nobody passes the first, not even one
 * that would fit where the first does not.
 */
import { byName, type Event, type Found, runInOrder } from "./checks.ts"
import type { Seen, Visit } from "./History.ts"
import type { Limits } from "./invariants.ts"
import { ownerOf } from "./tenures.ts"

/** The place of an owner that waits: all its requests meanwhile have it. */
interface Place {
  readonly id: string
  readonly came: number
  waiting: number
  /** When the last of them left. */
  leftAt: number
}

/** One was granted a tenure while another that had come before had its place still. */
interface Pass {
  readonly visit: Visit
  readonly came: number
  readonly passed: Place
}

const waits = ({ action, means, wait }: Visit): boolean => action === "Lock" && !means && wait > 0

/** One was granted a tenure, and another owner had come before it, and waited still. */
export const passedWaiters = ({ forgettings, visits = [] }: Seen, { grain = 0, lag = grain }: Limits): Found =>
  Array.from(Map.groupBy(visits, ({ server }) => server).values()).flatMap((ofServer) =>
    Array.from(byName(ofServer).values()).flatMap((ofName) =>
      passesOf(ofName, forgettings, lag)
        // At one moment nobody knows who came, or left, first.
        .filter(({ passed, visit }) => passed.leftAt > visit.leftAt + lag)
        .map(({ came, passed, visit: { id, leftAt, name } }) =>
          `${name}: ${id}, which had come at ${came}, passed ${passed.id}, which had come at ${passed.came}, at ${leftAt}`
        )
    )
  )

const passesOf = (
  visits: ReadonlyArray<Visit>,
  forgettings: Seen["forgettings"],
  lag: number
): ReadonlyArray<Pass> => {
  const found: Array<Pass> = []
  const places = new Map<string, Place>()
  const former = new Map<string, Place>()
  /** The place of an owner, also one that it has left at this moment. */
  const placeOf = ({ leftAt }: Visit, owner: string) => {
    const left = former.get(owner)
    return places.get(owner) ?? (left !== undefined && left.leftAt >= leftAt - lag ? left : undefined)
  }
  const tenures = new Set<string>()
  // Of a put it is not told whether a tenure began with it.
  const putters = new Set(visits.flatMap((visit) => visit.action === "Put" ? [ownerOf(visit)] : []))
  const come = (visit: Visit, owner: string) => {
    const place = places.get(owner)
    if (place !== undefined) return void place.waiting++
    places.set(owner, { id: visit.id, came: visit.came, waiting: 1, leftAt: Infinity })
  }
  const leave = (visit: Visit, owner: string) => {
    const came = placeOf(visit, owner)?.came ?? visit.came
    const place = places.get(owner)
    // What came to a server that has forgotten all has no place any more.
    if (place !== undefined && waits(visit) && visit.came >= place.came && --place.waiting === 0) {
      place.leftAt = visit.leftAt
      places.delete(owner)
      former.set(owner, place)
    }
    if (visit.fence === undefined || visit.means || putters.has(owner)) return
    const tenure = `${owner} ${visit.fence}`
    if (tenures.has(tenure)) return
    tenures.add(tenure)
    for (const passed of places.values()) {
      if (passed.id !== visit.id && passed.came < came) found.push({ visit, came, passed })
    }
  }
  const forget = ({ invokedAt }: { readonly invokedAt: number }) => {
    for (const place of places.values()) place.leftAt = invokedAt
    places.clear()
  }
  const events: Array<Event> = forgettings.map((forgetting) => ({
    order: forgetting.returned,
    asks: false,
    run: () => forget(forgetting)
  }))
  for (const visit of visits) {
    const owner = ownerOf(visit)
    if (waits(visit)) events.push({ order: visit.came, asks: true, run: () => come(visit, owner) })
    if (visit.left < Infinity) events.push({ order: visit.left, asks: false, run: () => leave(visit, owner) })
  }
  runInOrder(events)
  return found
}
