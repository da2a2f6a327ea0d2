/**
 * The processes of this machine, where Linux shows them.
 */
import * as fs from "node:fs"

/** A process, as `/proc` shows it. */
export interface Entry {
  readonly pid: number
  /** `T` where it is stopped, `Z` where it has ended and nobody has asked for its status. */
  readonly state: string
  readonly parent: number
  readonly group: number
}

/** One process; undefined where it is gone, or the system shows none. */
export const find = (pid: number): Entry | undefined => {
  try {
    const stat = fs.readFileSync(`/proc/${pid}/stat`, "latin1")
    // The name before it may have anything in it, brackets too.
    const [state = "", parent, group] = stat.slice(stat.lastIndexOf(")") + 2).split(" ")
    return { pid, state, parent: Number(parent), group: Number(group) }
  } catch {
    return undefined
  }
}

/** Whether the system shows them. */
export const isShown = (): boolean => find(process.pid) !== undefined

/** All that can be seen: none where the system shows none. */
export const all = (): ReadonlyArray<Entry> => {
  try {
    return fs.readdirSync("/proc").flatMap((name) => (/^\d+$/.test(name) ? find(Number(name)) ?? [] : []))
  } catch {
    return []
  }
}

/** Whether it runs, or may run on. */
export const isLiving = ({ state }: Entry): boolean => state !== "Z" && state !== "X"

/** The processes below one, and not itself. */
export const below = (pid: number): ReadonlyArray<Entry> => {
  const entries = all()
  const found: Array<Entry> = []
  const from = [pid]
  for (let next = from.pop(); next !== undefined; next = from.pop()) {
    for (const entry of entries) {
      if (entry.parent !== next) continue
      found.push(entry)
      from.push(entry.pid)
    }
  }
  return found
}
