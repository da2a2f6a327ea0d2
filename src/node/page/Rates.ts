/**
 * What was taken and ended in each second, from the history of the server.
 */
import type { LoggedEvent } from "../../protocol/Protocol.ts"
import type { Point } from "./browser/Told.ts"

/** So many seconds are kept. */
const kept = 125

// One that was revoked ends besides.
const ends: ReadonlySet<string> = new Set(["Released", "Expired", "Lost"])

interface Counted {
  taken: number
  ended: number
  longestWait: number
  waiting: number | undefined
}

/** Counts by the second. */
export class Rates {
  private readonly seconds = new Map<number, Counted>()
  private readonly changed = new Set<number>()
  private last: bigint | undefined

  /**
   * Takes in events, in their order. Where some are missing between them, since the history had no place for all, those
   * that are there stand for them.
   */
  takeEvents(events: ReadonlyArray<LoggedEvent>): void {
    const [first] = events
    if (first === undefined) return
    const missing = this.last === undefined ? 0n : BigInt(first.Number) - this.last - 1n
    const share = missing <= 0n ? 1 : 1 + Number(missing) / events.length
    for (const event of events) this.takeEvent(event, share)
    this.last = BigInt(events.at(-1)!.Number)
  }

  private takeEvent({ At, Event, Millis }: LoggedEvent, share: number): void {
    const counted = this.at(Math.floor(Number(At) / 1000))
    if (Event === "Taken") {
      counted.taken += share
      counted.longestWait = Math.max(counted.longestWait, Number(Millis ?? 0))
    } else if (ends.has(Event)) {
      counted.ended += share
    }
  }

  /** Takes in how many wait now. */
  takeWaiting(waiting: number, now: number): void {
    const second = Math.floor(now / 1000)
    if (this.seconds.get(second)?.waiting !== waiting) this.at(second).waiting = waiting
  }

  /** The seconds that have changed since they were asked for last. */
  news(now: number): ReadonlyArray<Point> {
    const first = Math.floor(now / 1000) - kept
    for (const second of this.seconds.keys()) if (second < first) this.seconds.delete(second)
    const points = Array.from(this.changed, (second) => this.pointOf(second)).filter((point) => point !== undefined)
    this.changed.clear()
    return points
  }

  /** All seconds that are kept. */
  all(): ReadonlyArray<Point> {
    return Array.from(this.seconds.keys(), (second) => this.pointOf(second)!)
  }

  private pointOf(second: number): Point | undefined {
    const counted = this.seconds.get(second)
    if (counted === undefined) return undefined
    const { ended, longestWait, taken, waiting } = counted
    return {
      second,
      taken: Math.round(taken),
      ended: Math.round(ended),
      longestWait,
      ...(waiting === undefined ? {} : { waiting })
    }
  }

  private at(second: number): Counted {
    this.changed.add(second)
    const known = this.seconds.get(second)
    if (known !== undefined) return known
    const begun = { taken: 0, ended: 0, longestWait: 0, waiting: undefined }
    this.seconds.set(second, begun)
    return begun
  }
}
