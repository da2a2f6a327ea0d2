/**
 * What is known of the names that begin so, in the order in which it has changed.
 *
 * Each change has a number, so a page is where it is by one number, and is told from there on, a part at a time: nothing is
 * kept for a page that does not read, and a name that has changed twice meanwhile is told once.
 */
import type { NamesTold, Row } from "./browser/Told.ts"
import { eventText } from "./events.ts"
import { charactersOf, type Found, hasChanged } from "./Names.ts"

/** So much is told at a time, as `charactersOf` counts: some hundred rows. In JSON a character may become six. */
const maxPart = 32 * 1024

/** What has become of a name. */
interface Change {
  readonly number: number
  readonly name: string
  /** Not there where it is held no more. */
  readonly row: Row | undefined
}

/** How far a page is. */
export interface Place {
  /** It was told all changes up to this one. */
  readonly told: number
  /** What was the last change when it began: it needs none before, as it knew no names. Not there where it is to begin. */
  readonly began: number | undefined
}

/** Where a page is that was told nothing. */
export const beginning: Place = { told: 0, began: undefined }

const sizeOf = ({ name, row }: Change): number => charactersOf(row ?? { name })

interface Part {
  readonly after: number
  readonly isWhole: boolean
  readonly text: string
  readonly told: number
}

/** The names of a view. */
export class Known {
  private readonly changes = new Map<string, Change>()
  /** The same in their order. */
  private order: ReadonlyArray<Change> = []
  private last = 0
  private isCut = false
  /** Up to this one, of names that are held no more it is not known any more. */
  private forgotten = 0
  /** What was told last: most pages are where others are. */
  private part: Part | undefined
  /** What its rows count for together. */
  characters = 0

  /**
   * Takes in what was found. A row that has not changed stays the one before: else an end that drifts by a little at each
   * look would never be told. Names that are held no more are kept, up to so many characters, for pages that have yet to be
   * told; a page that needs one that is kept no more begins anew.
   */
  take(found: Found, maxGone: number): void {
    const before = this.last
    const gone = this.order.filter(({ name, row }) => row !== undefined && !found.rows.has(name))
    for (const { name } of gone) this.put(name, undefined)
    this.characters = 0
    for (const row of found.rows.values()) {
      this.characters += charactersOf(row)
      const old = this.changes.get(row.name)?.row
      if (old === undefined || hasChanged(old, row)) this.put(row.name, row)
    }
    // That there is nothing is told too, at the first look.
    if (before === 0 || this.isCut !== found.isCut) this.last++
    this.isCut = found.isCut
    this.forget(maxGone)
    this.order = Array.from(this.changes.values())
    this.part = undefined
  }

  /** Whether a page that is there has not been told all. */
  hasNews({ told }: Place): boolean {
    return told < this.last
  }

  /** What a page that is there is told next, and where it is then. */
  next(place: Place, now: number): { readonly text: string; readonly place: Place } {
    const isWhole = place.began === undefined || this.forgotten > Math.max(place.told, place.began)
    const after = isWhole ? 0 : place.told
    if (this.part?.after !== after || this.part.isWhole !== isWhole) this.part = this.partAfter(after, isWhole, now)
    const { text, told } = this.part
    return { text, place: { told, began: isWhole ? this.last : place.began } }
  }

  private put(name: string, row: Row | undefined): void {
    // Set anew it stands last.
    this.changes.delete(name)
    this.changes.set(name, { number: ++this.last, name, row })
  }

  /** Of the names that are held no more keeps the last alone. */
  private forget(maxGone: number): void {
    const gone = Array.from(this.changes.values()).filter(({ row }) => row === undefined)
    let characters = gone.reduce((sum, change) => sum + sizeOf(change), 0)
    for (const change of gone) {
      if (characters <= maxGone) return
      characters -= sizeOf(change)
      this.changes.delete(change.name)
      this.forgotten = change.number
    }
  }

  private partAfter(after: number, isWhole: boolean, now: number): Part {
    const rows: Array<Row> = []
    const gone: Array<string> = []
    let at = this.indexAfter(after)
    for (let characters = 0; at < this.order.length && characters < maxPart; at++) {
      const change = this.order[at]!
      if (change.row === undefined) gone.push(change.name)
      else rows.push(change.row)
      characters += sizeOf(change)
    }
    const told: NamesTold = { now, isWhole, rows, gone, isCut: this.isCut }
    return {
      after,
      isWhole,
      text: eventText("names", told),
      told: at < this.order.length ? this.order[at - 1]!.number : this.last
    }
  }

  /** Where the first change after this one stands. */
  private indexAfter(number: number): number {
    let [from, to] = [0, this.order.length]
    while (from < to) {
      const middle = (from + to) >>> 1
      if (this.order[middle]!.number > number) to = middle
      else from = middle + 1
    }
    return from
  }
}
