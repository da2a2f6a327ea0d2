/**
 * Whether what an audit file tells of locks can be true: no name has two holders that exclude each other, fences only grow,
 * and what has ended had begun. Pure: it is given one line after another.
 *
 * What it can know depends on what is told. Where other servers share the store, a tenure may have begun or ended at another
 * one; so an end without a beginning is wrong only where the file says that its server was alone. Behind a gap nothing is
 * known of what is held.
 */
import * as Option from "effect/Option"
import * as Schema from "effect/Schema"
import { quoted } from "../lib/quoted.ts"
import * as Protocol from "../protocol/Protocol.ts"
import { notFollowed } from "../server/Tenures.ts"

/** What is wrong: with locks, or with the file. */
export type Kind = "Overlap" | "Fence" | "Ending" | "Line" | "Order"

/** Something that is wrong, in a line. */
export interface Finding {
  readonly kind: Kind
  readonly line: number
  readonly what: string
}

/** Those of locks. The others say that a file is damaged, or not what it is taken for. */
export const isViolation = ({ kind }: Finding): boolean => kind === "Overlap" || kind === "Fence" || kind === "Ending"

const Count = Schema.FiniteFromString

const Note = Schema.Union([
  Schema.Struct({
    Audit: Schema.tag("Began"),
    At: Count,
    Process: Schema.String,
    Alone: Schema.optionalKey(Schema.Literal("true"))
  }),
  Schema.Struct({ Audit: Schema.tag("Dropped"), At: Count, Count })
])

const Line = Schema.fromJsonString(Schema.Union([Protocol.LoggedEvent, Note]))
const read = Schema.decodeUnknownOption(Line)

type Event = Protocol.LoggedEvent

/** A tenure that goes on, as far as is told. */
interface Open {
  readonly line: number
  readonly fence: string
  readonly limit: string | undefined
  readonly weight: string
}

/** What is known of a name. */
interface Name {
  readonly open: Array<Open>
  /** The greatest fence of those that have begun, and the line. */
  fence: bigint
  fenceLine: number
  /** The fence that has ended last. */
  ended: string | undefined
}

/** Reads lines, and says what is wrong with each. */
export class AuditCheck {
  private names = new Map<string, Name>()
  /** The number of the event before. */
  private number: number | undefined
  /** Whether all that is held has begun here. */
  private isComplete = false
  private isAlone = false
  private torn: number | undefined
  events = 0
  dropped = 0
  /** How often a server process has begun. */
  begun = 0
  /** Lines that a server did not come to write to their end. */
  tornLines = 0

  /** Takes the next line. */
  next(text: string, line: number): ReadonlyArray<Finding> {
    const found = read(text)
    if (Option.isNone(found)) {
      const before = this.tornIsNone()
      this.torn = line
      return before
    }
    const value = found.value
    // A server that was killed leaves a part of a line, and the next begins behind it.
    if ("Audit" in value && value.Audit === "Began" && this.torn !== undefined) {
      this.torn = undefined
      this.tornLines++
    }
    const before = this.tornIsNone()
    if ("Audit" in value) {
      this.noted(value)
      return before
    }
    this.events++
    return [...before, ...this.inOrder(value, line), ...this.happened(value, line)]
  }

  /** Takes the end of the last file: a line without an end is one that is being written, or never was to its end. */
  end(hasLastLineEnd: boolean): ReadonlyArray<Finding> {
    if (hasLastLineEnd || this.torn === undefined) return this.tornIsNone()
    this.torn = undefined
    this.tornLines++
    return []
  }

  private tornIsNone(): ReadonlyArray<Finding> {
    const line = this.torn
    this.torn = undefined
    return line === undefined ? [] : [{ kind: "Line", line, what: "is no line of an audit file" }]
  }

  private noted(note: typeof Note.Type): void {
    this.forget()
    if (note.Audit === "Dropped") {
      this.dropped += note.Count
      if (this.number !== undefined) this.number += note.Count
      return
    }
    this.begun++
    this.number = 0
    this.isAlone = note.Alone === "true"
    this.isComplete = this.isAlone
  }

  /** From here on it is not known what is held. */
  private forget(): void {
    this.isComplete = false
    for (const name of this.names.values()) {
      name.open.length = 0
      name.ended = undefined
    }
  }

  private inOrder({ Number: text }: Event, line: number): ReadonlyArray<Finding> {
    const number = Number(text)
    const before = this.number
    this.number = number
    if (before === undefined || number === before + 1) return []
    this.forget()
    if (number > before) {
      this.dropped += number - before - 1
      return []
    }
    return [{ kind: "Order", line, what: `event ${number} comes behind event ${before}` }]
  }

  private happened(event: Event, line: number): ReadonlyArray<Finding> {
    switch (event.Event) {
      case "Taken":
        return this.taken(event, line)
      case "Released":
      case "Expired":
        return this.ended(event, line)
      case "Lost":
        this.close(this.nameOf(event), event.Fence)
        return []
      // A tenure that is revoked keeps its name; that one was freed by force is told besides.
      case "Revoked":
      case "Refused":
      case "Deadlock":
        return []
    }
  }

  private nameOf({ FileName }: Event): Name {
    let name = this.names.get(FileName)
    if (name === undefined) {
      name = { open: [], fence: -1n, fenceLine: 0, ended: undefined }
      this.names.set(FileName, name)
    }
    return name
  }

  private close(name: Name, fence: string | undefined): Open | undefined {
    const place = name.open.findIndex((one) => one.fence === fence)
    return place < 0 ? undefined : name.open.splice(place, 1)[0]
  }

  private taken(event: Event, line: number): ReadonlyArray<Finding> {
    const { Fence = "0", FileName, Limit, Reason, Weight = "1" } = event
    const name = this.nameOf(event)
    const findings: Array<Finding> = []
    const fence = BigInt(Fence)
    if (fence <= name.fence) {
      findings.push({
        kind: "Fence",
        line,
        what: `${quoted(FileName)} was taken with the fence ${fence}, and with ${name.fence} before, in line ` +
          `${name.fenceLine}`
      })
    } else {
      name.fence = fence
      name.fenceLine = line
    }
    const open: Open = { line, fence: Fence, limit: Limit, weight: Weight }
    const excluded = excludes(open, name.open)
    if (excluded !== undefined) {
      findings.push({
        kind: "Overlap",
        line,
        what: `${quoted(FileName)} was taken (fence ${Fence}) while it was held: ${excluded}`
      })
      // It is told once.
      name.open.length = 0
    }
    if (Reason !== notFollowed) name.open.push(open)
    return findings
  }

  private ended(event: Event, line: number): ReadonlyArray<Finding> {
    const { Event: kind, Fence, FileName } = event
    const name = this.nameOf(event)
    // Nobody knows which one it was.
    if (Fence === undefined) {
      name.open.length = 0
      return []
    }
    const isTwice = name.ended === Fence
    name.ended = Fence
    if (this.close(name, Fence) !== undefined || !(this.isComplete || isTwice)) return []
    const what = `${quoted(FileName)} (fence ${Fence}) was ${kind.toLowerCase()}`
    return [{ kind: "Ending", line, what: isTwice ? `${what}, and had ended before` : `${what}, and had not begun` }]
  }
}

const shown = ({ fence, line }: Open): string => `by fence ${fence} since line ${line}`

/** Why one cannot hold a name beside others, if that is so. */
const excludes = (one: Open, others: ReadonlyArray<Open>): string | undefined => {
  const [first] = others
  if (first === undefined) return undefined
  if (one.limit === undefined || first.limit === undefined) return shown(first)
  if (one.limit !== first.limit) return `${shown(first)}, with the limit ${first.limit} instead of ${one.limit}`
  if (one.limit === "shared") {
    const writer = one.weight === "all" ? first : others.find(({ weight }) => weight === "all")
    return writer && shown(writer)
  }
  const sum = others.reduce((sum, { weight }) => sum + Number(weight), Number(one.weight))
  return sum <= Number(one.limit)
    ? undefined
    : `the weights are ${sum} together, and the limit is ${one.limit}; the first is held ${shown(first)}`
}
