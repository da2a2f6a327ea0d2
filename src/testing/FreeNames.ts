/**
 * Names that everybody gets who asks: what a lock server remembers of them, without its exclusion.
 *
 * Each owner of a name has it to itself, with its data, from a first `Lock` or `Put` until it is given back, erased or expired.
 * The fences of a name grow with each tenure of it, whoever has it.
 */
import { type Request, type Response, serverName } from "../protocol/Protocol.ts"

interface Tenure {
  readonly fence: string
  /** Milliseconds of the clock. */
  readonly since: number
  label: string | undefined
  /** Milliseconds of the clock. */
  until: number
  data: string | undefined
}

interface Name {
  lastFence: number
  readonly tenures: Map<string, Tenure>
}

// All who hold it, though each of them is told that it holds it alone.
const described = ({ lastFence, tenures }: Name, now: number): Response => {
  const alive = Array.from(tenures.values()).filter(({ until }) => until > now)
  return {
    Status: "Described",
    Holders: alive.map(({ fence, label, since, until }) => ({
      ...(label === undefined ? {} : { Label: label }),
      Since: String(Math.floor(since)),
      ExpiresIn: String(Math.ceil(until - now)),
      Fence: fence
    })),
    Waiting: "0",
    Waiters: [],
    Revision: `${lastFence}.${alive.length}`
  }
}

/** Answers requests, each at the time of a clock in milliseconds. */
export const make = (): (request: Request, now: number) => Response => {
  const names = new Map<string, Name>()

  const nameOf = (name: string): Name => {
    const known = names.get(name)
    if (known !== undefined) return known
    const made = { lastFence: 0, tenures: new Map() }
    names.set(name, made)
    return made
  }

  const held = ({ tenures }: Name, { ID }: Request, now: number): Tenure | undefined => {
    const tenure = tenures.get(ID)
    return tenure === undefined || tenure.until <= now ? undefined : tenure
  }

  const taken = (name: Name, request: Request, now: number): Tenure => {
    const tenure = held(name, request, now) ??
      { fence: String(++name.lastFence), since: now, label: undefined, until: 0, data: undefined }
    tenure.until = now + request.Expire * 1000
    if (request.Action === "Lock") tenure.label = request.Label ?? tenure.label
    name.tenures.set(request.ID, tenure)
    return tenure
  }

  return (request, now) => {
    const { Action, DataStore, FileName, ID } = request
    if (Action === "Version") return { Status: "Version", ID: serverName }
    const name = nameOf(FileName)
    if (Action === "Lock") return { Status: "Locked", ID, Fence: taken(name, request, now).fence }
    if (Action === "Put") {
      taken(name, request, now).data = DataStore
      return { Status: "Done", ID }
    }
    const tenure = held(name, request, now)
    switch (Action) {
      case "TestLock":
        return tenure === undefined ? { Status: "Unlocked" } : { Status: "Locked", ID }
      case "Get":
        if (tenure === undefined) return { Status: "NotFound" }
        return tenure.data === undefined ? { Status: "NoData", ID } : { Status: "Done", ID, DataStore: tenure.data }
      case "Unlock":
        name.tenures.delete(ID)
        return tenure === undefined ? { Status: "Unlocked" } : { Status: "Unlocked", ID }
      case "Describe":
        return described(name, now)
      case "Erase":
        name.tenures.delete(ID)
        if (tenure === undefined) return { Status: "NotFound" }
        return tenure.data === undefined ? { Status: "Corruption" } : { Status: "Done", ID }
      default:
        return { Status: "BadAction" }
    }
  }
}
