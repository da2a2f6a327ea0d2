/**
 * Cutting a stream of bytes into lines, whatever the lines encode.
 */
import { beginningBytes, Cutter } from "./Cutter.ts"

const newline = 0x0a
const carriageReturn = 0x0d

const withoutCarriageReturn = (line: Uint8Array): Uint8Array =>
  line.length > 0 && line[line.length - 1] === carriageReturn ? line.subarray(0, line.length - 1) : line

/**
 * Cuts a stream of bytes into lines, wherever its chunks begin and end.
 *
 * It keeps at most `maxBytes` bytes of an unfinished line. A longer line
 * ends its use: `overflowed` is true from then on, and `push` gives no further
 * line, since nothing tells where the next one begins.
 *
 * @example
 * ```ts
 * import { Wire } from "effect-dlm/protocol"
 *
 * const framer = new Wire.Framer(1024)
 * framer.push(new TextEncoder().encode("ag")) // []
 * framer.push(new TextEncoder().encode("\nah\n")) // the bytes of "ag" and of "ah"
 * ```
 */
export class Framer extends Cutter {
  /** Reads a chunk, and gives the lines that it completes, without their ends. */
  push(chunk: Uint8Array): Array<Uint8Array> {
    const lines: Array<Uint8Array> = []
    let from = 0
    while (!this.overflowed && from < chunk.length) {
      const at = chunk.indexOf(newline, from)
      const end = at === -1 ? chunk.length : at
      if (this.unfinished.size + end - from > this.maxBytes) {
        this.unfinished.append(chunk.subarray(from, Math.min(end, from + beginningBytes)))
        this.abandon()
        break
      }
      const part = chunk.subarray(from, end)
      if (at === -1) {
        this.unfinished.append(part)
        break
      }
      if (this.unfinished.size === 0) {
        lines.push(withoutCarriageReturn(part))
      } else {
        this.unfinished.append(part)
        // mutant: line-in-parts
        lines.push(withoutCarriageReturn(this.unfinished.take()))
      }
      from = end + 1
    }
    return lines
  }
}
