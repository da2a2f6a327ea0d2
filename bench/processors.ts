/**
 * What uses the processors, where the system tells it in /proc.
 */
import * as fs from "node:fs"

/** Of what Linux counts in, so many are a second. */
const ticks = 100

const read = (file: string): string | undefined => {
  try {
    return fs.readFileSync(file, "utf8")
  } catch {
    return undefined
  }
}

/** How many seconds of processors a process has used. */
export const usedBy = (pid: number): number | undefined => {
  const stat = read(`/proc/${pid}/stat`)
  // The name of the program may have anything in it, and ends with the last parenthesis.
  const fields = stat?.slice(stat.lastIndexOf(")") + 2).split(" ")
  return fields && (Number(fields[11]) + Number(fields[12])) / ticks
}

const counted = (): readonly [busy: number, all: number] | undefined => {
  const fields = read("/proc/stat")?.split("\n")[0]!.trim().split(/\s+/).slice(1, 9).map(Number)
  if (fields === undefined) return undefined
  const all = fields.reduce((sum, one) => sum + one, 0)
  return [all - fields[3]! - fields[4]!, all]
}

/** Which part of the processors is used, by whomever, over half a second in which this process does nothing. */
export const busy = async (): Promise<number | undefined> => {
  const before = counted()
  await new Promise((resolve) => setTimeout(resolve, 500))
  const after = counted()
  return before && after && (after[0] - before[0]) / Math.max(1, after[1] - before[1])
}
