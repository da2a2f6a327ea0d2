/**
 * Where lists of names stand that somebody may go on with: of a store in memory, which keeps its names in no order.
 *
 * A list goes on in the order in which names came, whatever comes and goes meanwhile. Each place is used once, so that
 * an answer that was lost skips nothing: whoever asks for it again begins anew.
 */

/** So many names are looked at for a page, of whatever prefix. */
const maxLooked = 10_000

/** So many lists may stand at a time. The oldest is forgotten for one more. */
const maxCursors = 64

/** A list that nobody has gone on with for so long, in milliseconds, is forgotten: what it stands in keeps memory. */
const idleMillis = 10_000

interface Cursor {
  readonly names: Iterator<string>
  readonly usedAt: number
}

/** The places at which lists of names stand. `process` tells them from those of another store. */
export class Cursors {
  private readonly cursors = new Map<string, Cursor>()
  private readonly all: () => Iterator<string>
  private readonly process: string
  private made = 0

  constructor(process: string, all: () => Iterator<string>) {
    this.process = process
    this.all = all
  }

  /** The next names for which `has` is true, and where to go on; nothing where that place is not known (any more). */
  page(
    after: string | undefined,
    count: number,
    has: (name: string) => boolean,
    now: number
  ): { readonly names: ReadonlyArray<string>; readonly after?: string } | undefined {
    const from = after === undefined ? this.all() : this.cursors.get(after)?.names
    if (from === undefined) return undefined
    if (after !== undefined) this.cursors.delete(after)
    const names: Array<string> = []
    for (let looked = 0; looked < maxLooked && names.length < count; looked++) {
      const next = from.next()
      if (next.done === true) return { names }
      if (has(next.value)) names.push(next.value)
    }
    return { names, after: this.keep(from, now) }
  }

  /** Forgets the lists that nobody has gone on with for long. */
  sweep(now: number): void {
    for (const [after, { usedAt }] of this.cursors) {
      if (now - usedAt < idleMillis) return
      this.cursors.delete(after)
    }
  }

  private keep(names: Iterator<string>, usedAt: number): string {
    const after = `${this.process}.${this.made++}`
    this.cursors.set(after, { names, usedAt })
    for (const oldest of this.cursors.keys()) {
      if (this.cursors.size <= maxCursors) break
      this.cursors.delete(oldest)
    }
    return after
  }
}
