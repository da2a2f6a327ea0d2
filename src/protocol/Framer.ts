/**
 * Cutting a stream of bytes into lines, whatever the lines encode.
 */
const newline = 0x0a
const carriageReturn = 0x0d

const empty = new Uint8Array(0)

const beginningBytes = 256

const withoutCarriageReturn = (line: Uint8Array): Uint8Array =>
  line.length > 0 && line[line.length - 1] === carriageReturn ? line.subarray(0, line.length - 1) : line

/**
 * Cuts a stream of bytes into lines, wherever its chunks begin and end.
 *
 * It keeps at most `maxLineBytes` bytes of an unfinished line. A longer line
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
export class Framer {
  // Chunks are copied together: of a slow sender each would take far more memory than its bytes.
  private buffer: Uint8Array = empty
  private size = 0
  /** True once a line was longer than the cap, or was abandoned. */
  overflowed = false
  /** The first bytes, 256 at the most, of the line that was too long. */
  beginning: Uint8Array = empty
  /** The longest line accepted, in bytes without its `\n`. */
  maxLineBytes: number

  constructor(maxLineBytes: number) {
    this.maxLineBytes = maxLineBytes
  }

  /** How many bytes of an unfinished line are kept. */
  get pendingBytes(): number {
    return this.size
  }

  /** The bytes of the unfinished line. */
  pending(): Uint8Array {
    return this.buffer.subarray(0, this.size)
  }

  /** Gives up the unfinished line, as if it were longer than the cap. */
  abandon(): void {
    this.overflowed = true
    this.beginning = this.pending().slice(0, beginningBytes)
    this.buffer = empty
    this.size = 0
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
      if (this.size + end - from > this.maxLineBytes) {
        this.append(chunk.subarray(from, Math.min(end, from + beginningBytes)))
        this.abandon()
        break
      }
      const part = chunk.subarray(from, end)
      if (at === -1) {
        this.append(part)
        break
      }
      if (this.size === 0) {
        lines.push(withoutCarriageReturn(part))
      } else {
        this.append(part)
        // mutant: line-in-parts
        lines.push(withoutCarriageReturn(this.pending()))
        this.buffer = empty
        this.size = 0
      }
      from = end + 1
    }
    return lines
  }

  private append(part: Uint8Array): void {
    const size = this.size + part.length
    if (size > this.buffer.length) {
      const larger = new Uint8Array(Math.max(size, 2 * this.size))
      larger.set(this.pending())
      this.buffer = larger
    }
    this.buffer.set(part, this.size)
    this.size = size
  }
}
