/**
 * Cutting a stream of bytes into lines, whatever the lines encode.
 */
import { beginningBytes, type Cutter } from "./Cutter.ts"
import { Unfinished } from "./Unfinished.ts"

const newline = 0x0a
const carriageReturn = 0x0d

const empty = new Uint8Array(0)

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
export class Framer implements Cutter {
  private readonly unfinished = new Unfinished()
  /** True once a line was longer than the cap, or was abandoned. */
  overflowed = false
  /** The first bytes, 256 at the most, of the line that was too long. */
  beginning: Uint8Array = empty
  /** The longest line accepted, in bytes without its `\n`. */
  maxBytes: number

  constructor(maxBytes: number) {
    this.maxBytes = maxBytes
  }

  /** How many bytes of an unfinished line are kept. */
  get pendingBytes(): number {
    return this.unfinished.size
  }

  /** The bytes of the unfinished line. */
  pending(): Uint8Array {
    return this.unfinished.bytes
  }

  /** Gives up the unfinished line, as if it were longer than the cap. */
  abandon(): void {
    this.overflowed = true
    this.beginning = this.pending().slice(0, beginningBytes)
    this.unfinished.clear()
  }

  /**
   * Reads a chunk, and gives the lines that it completes, without their ends. A line that lies wholly in the chunk is a
   * view of it; an unfinished one is copied. So the chunk's memory may be used again once its lines have been read.
   */
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
