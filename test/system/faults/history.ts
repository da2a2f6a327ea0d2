/**
 * What clients wrote down about all that they asked and were answered, and whether that can be true of a lock server
 * that keeps its promises. Times are milliseconds of the monotonic clock, which is one for all processes of a machine.
 */
import type { Protocol } from "effect-dlm/protocol"
import * as fs from "node:fs"

/** Milliseconds of the monotonic clock. */
export const now = (): number => Number(process.hrtime.bigint()) / 1e6

/**
 * How a request ended: answered; without an answer in time; given up by its asker, who had no more time; cut off, or
 * answered with garbage; or never sent, since nobody listened.
 */
export type Ending = "answered" | "timedOut" | "givenUp" | "cutOff" | "refused"

/** One line of a client's history. */
export type Line =
  | {
    readonly type: "asked"
    readonly op: number
    readonly at: number
    readonly action: Protocol.Action
    readonly name: string
    readonly id: string
    /** The time to live that was asked for. */
    readonly ttl: number
    readonly data: string | undefined
  }
  | {
    readonly type: "ended"
    readonly op: number
    readonly at: number
    readonly ending: Ending
    readonly status?: string | undefined
    readonly fence?: string | undefined
    readonly data?: string | undefined
  }
  /** The body that a lease protects began, and ended. */
  | {
    readonly type: "entered"
    readonly body: number
    readonly at: number
    readonly name: string
    readonly fence: string
  }
  | { readonly type: "left"; readonly body: number; readonly at: number }
  /** The resource took a read or a write, or refused it. */
  | {
    readonly type: "touched"
    readonly what: "read" | "write"
    readonly name: string
    readonly fence: string
    /** When the request for it left, and when the answer was there. */
    readonly from: number
    readonly to: number
    readonly taken: boolean
    /** The process was stopped between the asking and the sending. */
    readonly stopped: boolean
  }
  /** The process did not run: it was stopped, or had no processor. */
  | { readonly type: "paused"; readonly from: number; readonly to: number }

/** A request, and how it ended, if it did before its client. */
export interface Operation {
  readonly asked: Extract<Line, { readonly type: "asked" }>
  readonly ended: Extract<Line, { readonly type: "ended" }> | undefined
}

export interface Body {
  readonly process: number
  readonly name: string
  readonly fence: bigint
  readonly from: number
  /** None where its process was killed in it. */
  readonly to: number | undefined
}

export interface History {
  readonly operations: ReadonlyArray<Operation>
  readonly bodies: ReadonlyArray<Body>
  readonly touches: ReadonlyArray<Extract<Line, { readonly type: "touched" }>>
  readonly pauses: ReadonlyArray<{ readonly process: number; readonly from: number; readonly to: number }>
}

/** Puts together what each process wrote. */
export const fromLines = (processes: ReadonlyArray<ReadonlyArray<Line>>): History => {
  const operations: Array<Operation> = []
  const bodies: Array<Body> = []
  const touches: Array<History["touches"][number]> = []
  const pauses: Array<History["pauses"][number]> = []
  processes.forEach((lines, process) => {
    const endings = new Map(lines.flatMap((line) => line.type === "ended" ? [[line.op, line] as const] : []))
    const leavings = new Map(lines.flatMap((line) => line.type === "left" ? [[line.body, line.at] as const] : []))
    for (const line of lines) {
      if (line.type === "asked") operations.push({ asked: line, ended: endings.get(line.op) })
      else if (line.type === "touched") touches.push(line)
      else if (line.type === "paused") pauses.push({ process, from: line.from, to: line.to })
      else if (line.type === "entered") {
        const { at, body, fence, name } = line
        bodies.push({ process, name, fence: BigInt(fence), from: at, to: leavings.get(body) })
      }
    }
  })
  return { operations, bodies, touches, pauses }
}

/** Reads the files, one for each process. The last line of one that was killed may be none. */
export const fromFiles = (files: ReadonlyArray<string>): History =>
  fromLines(files.map((file) => {
    const lines = fs.readFileSync(file, "utf8").split("\n")
    lines.pop()
    return lines.map((line) => JSON.parse(line) as Line)
  }))

/** While a server that forgets all was being killed: what it had granted by the end of that, it may have forgotten. */
export interface Forgetting {
  readonly from: number
  readonly to: number
}

/** A time in which an owner held a name without any doubt: from an answer that says so, until it may have ended. */
export interface Hold {
  readonly name: string
  readonly id: string
  readonly fence: bigint | undefined
  from: number
  to: number
  /** When the first and the last request that confirmed it were asked. */
  firstAskedAt: number
  askedAt: number
  /** When data was acknowledged within it, if so. */
  dataAt: number
}

/** Some stores count whole milliseconds of a wall clock, and that is steered a little against the monotonic one. */
const grain = 2

/**
 * The holds that are beyond doubt. A confirmed request makes the entry live for its time to live from no earlier than
 * it was asked; until then it is the owner's, unless that owner asked for its end, or the server forgot it.
 */
export const definiteHolds = (history: History, forgettings: ReadonlyArray<Forgetting>): ReadonlyArray<Hold> => {
  const endAsked = Map.groupBy(
    history.operations.filter(({ asked }) => asked.action === "Unlock" || asked.action === "Erase"),
    ({ asked }) => `${asked.name}\0${asked.id}`
  )
  const holds = new Map<string, Hold>()
  for (const { asked, ended } of history.operations) {
    const isLock = asked.action === "Lock" && ended?.status === "Locked"
    const isPut = asked.action === "Put" && ended?.status === "Done"
    if (ended === undefined || (!isLock && !isPut)) continue
    const { at: askedAt, id, name, ttl } = asked
    const until = askedAt + ttl - grain
    // What one fence was given for is one tenure, without a gap. Of a put nobody knows the tenure: it stands alone.
    const key = isLock ? `${name}\0${id}\0${ended.fence}` : `${name}\0${id}\0put ${askedAt}`
    const known = holds.get(key)
    const fence = isLock && ended.fence !== undefined ? BigInt(ended.fence) : undefined
    const dataAt = isPut ? ended.at : Infinity
    if (known === undefined) {
      holds.set(key, { name, id, fence, from: ended.at, to: until, firstAskedAt: askedAt, askedAt, dataAt })
    } else {
      known.from = Math.min(known.from, ended.at)
      known.to = Math.max(known.to, until)
      known.firstAskedAt = Math.min(known.firstAskedAt, askedAt)
      known.askedAt = Math.max(known.askedAt, askedAt)
    }
  }
  return Array.from(holds.values()).filter((hold) => {
    for (const { asked } of endAsked.get(`${hold.name}\0${hold.id}`) ?? []) {
      // What was asked before it began is about an earlier tenure, and must not touch this one, however late it comes.
      if (asked.at >= hold.firstAskedAt) hold.to = Math.min(hold.to, asked.at)
    }
    for (const { from, to } of forgettings) if (hold.askedAt < to) hold.to = Math.min(hold.to, from)
    return hold.from < hold.to
  })
}

const byName = <A extends { readonly name: string }>(all: ReadonlyArray<A>) => Map.groupBy(all, ({ name }) => name)
const inOrder = <A extends { readonly from: number }>(all: ReadonlyArray<A>) => all.toSorted((a, b) => a.from - b.from)

/** No name was held by two at once. */
const overlaps = (holds: ReadonlyArray<Hold>): Array<string> => {
  const found: Array<string> = []
  for (const [name, ofName] of byName(holds)) {
    let last: Hold | undefined
    for (const hold of inOrder(ofName)) {
      if (last !== undefined && hold.id !== last.id && hold.from < last.to) {
        found.push(
          `${name} was held by ${last.id} (fence ${last.fence}) until ${last.to}, ` +
            `and by ${hold.id} (fence ${hold.fence}) from ${hold.from}`
        )
      }
      if (last === undefined || hold.to > last.to) last = hold
    }
  }
  return found
}

/** A grant that was asked for after another was known has a greater fence, or is the same tenure's. */
const fallingFences = ({ operations }: History): Array<string> => {
  const found: Array<string> = []
  const grants = operations.flatMap(({ asked, ended }) =>
    asked.action === "Lock" && ended?.fence !== undefined
      ? [{ name: asked.name, id: asked.id, fence: BigInt(ended.fence), from: asked.at, to: ended.at }]
      : []
  )
  for (const [name, ofName] of byName(grants)) {
    const known = ofName.toSorted((a, b) => a.to - b.to)
    let next = 0
    let newest: typeof known[number] | undefined
    for (const grant of inOrder(ofName)) {
      while (known[next] !== undefined && known[next]!.to < grant.from) {
        const one = known[next++]!
        if (newest === undefined || one.fence > newest.fence) newest = one
      }
      if (newest === undefined) continue
      if (grant.fence < newest.fence || (grant.fence === newest.fence && grant.id !== newest.id)) {
        found.push(`${name}: ${grant.id} got fence ${grant.fence} after ${newest.id} had ${newest.fence}`)
      }
    }
  }
  return found
}

/** Whoever asked while a name was held was told so, and its owner was told that it is its own. */
const wrongAnswers = ({ operations }: History, holds: ReadonlyArray<Hold>): Array<string> => {
  const found: Array<string> = []
  const holdsOf = new Map(Array.from(byName(holds), ([name, ofName]) => [name, inOrder(ofName)]))
  for (const { asked, ended } of operations) {
    if (ended?.status === undefined || asked.action === "Version" || ended.status === "NO") continue
    const around = within(holdsOf.get(asked.name) ?? [], asked.at, ended.at)
    for (const hold of around) {
      const mine = hold.id === asked.id
      const right = !mine
        ? ended.status === "NotOwner"
        : asked.action === "Get"
        ? ended.status === "Done" || (ended.status === "NoData" && !(hold.dataAt <= asked.at))
        : ended.status === "Locked" || ended.status === "Done"
      if (!right) {
        found.push(
          `${asked.name} was held by ${hold.id} from ${hold.from} to ${hold.to}, and ${asked.action} of ${asked.id} ` +
            `was answered ${ended.status} between ${asked.at} and ${ended.at}`
        )
      }
    }
  }
  return found
}

// Those that hold all the while. They hardly overlap, so those that began last are enough.
const within = (holds: ReadonlyArray<Hold>, from: number, to: number): ReadonlyArray<Hold> => {
  let low = 0
  let high = holds.length
  while (low < high) {
    const middle = (low + high) >>> 1
    if (holds[middle]!.from <= from) low = middle + 1
    else high = middle
  }
  return holds.slice(Math.max(0, low - 8), low).filter((hold) => hold.to >= to)
}

/** Nobody read what another had put. */
const foreignData = ({ operations }: History): Array<string> => {
  const put = new Map<string, Set<string | undefined>>()
  for (const { asked } of operations) {
    if (asked.action !== "Put") continue
    const owner = `${asked.name}\0${asked.id}`
    put.set(owner, (put.get(owner) ?? new Set()).add(asked.data))
  }
  return operations.flatMap(({ asked, ended }) =>
    asked.action === "Get" && ended?.status === "Done" &&
      put.get(`${asked.name}\0${asked.id}`)?.has(ended.data) !== true
      ? [`${asked.id} read in ${asked.name} what it had not put: ${ended.data}`]
      : []
  )
}

/**
 * A lease ends here before it ends there: no body went on after its time to live, counted from the last request that
 * was confirmed. A process that did not run can't keep that, so its pauses excuse it; and what can't be interrupted is
 * waited for, so a question to the resource that was asked in time excuses it until its answer.
 */
const lateBodies = ({ bodies, operations, pauses, touches }: History): Array<string> => {
  const confirmed = Map.groupBy(
    operations.filter(({ asked, ended }) => asked.action === "Lock" && ended?.status === "Locked"),
    ({ asked, ended }) => `${asked.name}\0${ended!.fence}`
  )
  const pausesOf = Map.groupBy(pauses, ({ process }) => process)
  const touchesOf = Map.groupBy(touches, ({ fence, name }) => `${name}\0${fence}`)
  return bodies.flatMap(({ fence, from, name, process, to }) => {
    if (to === undefined) return []
    const confirmations = (confirmed.get(`${name}\0${fence}`) ?? []).filter(({ ended }) => ended!.at <= to)
    const deadline = Math.max(...confirmations.map(({ asked }) => asked.at + asked.ttl))
    const ttl = confirmations[0]?.asked.ttl ?? 0
    if (to <= deadline) return []
    const late = ttl / 10
    const excused = (pausesOf.get(process) ?? []).some((pause) => pause.from <= to && pause.to >= deadline - late) ||
      (touchesOf.get(`${name}\0${fence}`) ?? []).some((touch) => touch.from < deadline && touch.to >= to - grain)
    return excused ? [] : [
      `a body on ${name} under fence ${fence} went on from ${from} to ${to}, beyond ${deadline}`
    ]
  })
}

/** The resource took nothing under a fence after it had taken something under a newer one. */
const staleTouches = ({ touches }: History): Array<string> => {
  const found: Array<string> = []
  for (const [name, ofName] of byName(touches.filter(({ taken }) => taken))) {
    const known = ofName.toSorted((a, b) => a.to - b.to)
    let next = 0
    let newest = -1n
    for (const touch of inOrder(ofName)) {
      while (known[next] !== undefined && known[next]!.to < touch.from) {
        const fence = BigInt(known[next++]!.fence)
        if (fence > newest) newest = fence
      }
      if (BigInt(touch.fence) < newest) {
        found.push(`${name}: a ${touch.what} under fence ${touch.fence} was taken after ${newest}`)
      }
    }
  }
  return found
}

/** All that can't be true, in words, by what was promised. */
export const violations = (
  history: History,
  forgettings: ReadonlyArray<Forgetting> = []
): Readonly<Record<string, ReadonlyArray<string>>> => {
  const holds = definiteHolds(history, forgettings)
  return {
    exclusion: overlaps(holds),
    fences: fallingFences(history),
    answers: wrongAnswers(history, holds),
    data: foreignData(history),
    deadlines: lateBodies(history),
    guard: staleTouches(history)
  }
}
