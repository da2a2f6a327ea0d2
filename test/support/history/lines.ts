/**
 * A history that processes write down, a line of JSON each, so that a kill loses none, and that is read when all is over.
 */
import type { Protocol } from "effect-dlm/protocol"
import * as fs from "node:fs"
import type { Forgetting, Hold, Operation, Pause, Seen, Span, Touch } from "./History.ts"

/**
 * How a request ended: answered; without an answer in time; given up by its asker, who had no more time; cut off, or
 * answered with garbage; or never sent, since no server listened.
 */
export type Ending = "answered" | "timedOut" | "givenUp" | "cutOff" | "refused"

/** One line of a client's history. Times are milliseconds of the monotonic clock. */
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
    readonly wait: number
    readonly data: string | undefined
    /** The fence of the only tenure that it means, and to whom it passes that. */
    readonly meant?: string | undefined
    readonly heir?: string | undefined
    /** Of a `Lock` for some of a limit, that and how much of it. */
    readonly limit?: string | undefined
    readonly weight?: string | undefined
  }
  | {
    readonly type: "ended"
    readonly op: number
    readonly at: number
    readonly ending: Ending
    readonly response?: Protocol.Response | undefined
  }
  /** The body that a lease protects began, and ended. */
  | {
    readonly type: "entered"
    readonly body: number
    readonly at: number
    readonly name: string
    readonly id: string
    readonly fence: string
    /** For how long after the sending of a confirmed request it may go on. */
    readonly lasts: number
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
  }
  /** The process did not run: it was stopped, or had no processor. */
  | { readonly type: "paused"; readonly from: number; readonly to: number }

export interface FromLines extends Seen {
  readonly endings: Readonly<Record<Ending, number>>
}

/** What happened between two times. One clock tells them all, so they are an order as well. */
export const span = (from: number, to: number): Span => ({
  invoked: from,
  returned: to,
  invokedAt: from,
  returnedAt: to
})

/** A server that forgets all was being killed: what it had granted by the end of that, it may have forgotten. */
export const forgetting = (from: number, to: number): Forgetting => ({ ...span(from, to), graceUntil: 0 })

/** Puts together what each process wrote. */
export const fromLines = (
  processes: ReadonlyArray<ReadonlyArray<Line>>,
  forgettings: ReadonlyArray<Forgetting> = []
): FromLines => {
  const operations: Array<Operation> = []
  const holds: Array<Hold> = []
  const touches: Array<Touch> = []
  const pauses: Array<Pause> = []
  const endings: Record<Ending, number> = { answered: 0, timedOut: 0, givenUp: 0, cutOff: 0, refused: 0 }
  processes.forEach((lines, i) => {
    const who = `process ${i}`
    const ended = new Map(lines.flatMap((line) => line.type === "ended" ? [[line.op, line] as const] : []))
    const left = new Map(lines.flatMap((line) => line.type === "left" ? [[line.body, line.at] as const] : []))
    for (const line of lines) {
      switch (line.type) {
        case "asked": {
          const { at, op, action, data, heir, id, limit, name, ttl, wait, weight } = line
          const meant = line.meant === undefined ? undefined : BigInt(line.meant)
          const response = ended.get(op)?.response
          const until = response === undefined ? Infinity : ended.get(op)!.at
          const asked = { who, id, name, action, ttl, wait, data, meant, heir, limit, weight }
          operations.push({ ...span(at, until), ...asked, response })
          break
        }
        case "ended":
          endings[line.ending]++
          break
        case "entered": {
          const { at, body, fence, id, lasts, name } = line
          // Of one that was killed only its beginning is sure.
          const to = left.get(body) ?? at
          holds.push({ who, name, id, fence: BigInt(fence), lasts, resumed: false, from: at, to })
          break
        }
        case "touched": {
          const { fence, from, name, taken, to, what } = line
          touches.push({ ...span(from, to), what, name, fence: BigInt(fence), taken })
          break
        }
        case "paused":
          pauses.push({ who, from: line.from, to: line.to })
      }
    }
  })
  return { operations, holds, touches, forgettings, pauses, endings }
}

/** Reads the files, one for each process. The last line of one that was killed may be cut off. */
export const fromFiles = (files: ReadonlyArray<string>, forgettings: ReadonlyArray<Forgetting>): FromLines =>
  fromLines(
    files.map((file) => {
      const lines = fs.readFileSync(file, "utf8").split("\n")
      lines.pop()
      return lines.map((line) => JSON.parse(line) as Line)
    }),
    forgettings
  )
