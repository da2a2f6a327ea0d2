/**
 * Cutting a stream of bytes into frames: each begins with its length, 4 bytes, the lowest first.
 */
import { Cutter } from "./Cutter.ts"

/** How many bytes of a frame say how long it is. */
export const lengthBytes = 4

/** Of a frame that is too long so much is waited for: its kind and its number. */
const headBytes = lengthBytes + 9

const lengthAt = (bytes: Uint8Array, at: number): number =>
  (bytes[at]! | (bytes[at + 1]! << 8) | (bytes[at + 2]! << 16) | (bytes[at + 3]! << 24)) >>> 0

/** Cuts a stream of bytes into frames, and gives each without its length. */
export class FrameCutter extends Cutter {
  push(chunk: Uint8Array): Array<Uint8Array> {
    const frames: Array<Uint8Array> = []
    let from = 0
    while (!this.overflowed && from < chunk.length) {
      if (this.unfinished.size === 0 && chunk.length - from >= lengthBytes) {
        const begin = from + lengthBytes
        const length = lengthAt(chunk, from)
        if (length <= this.maxBytes && begin + length <= chunk.length) {
          frames.push(chunk.subarray(begin, begin + length))
          from = begin + length
          continue
        }
      }
      from = this.keep(chunk, from, frames)
    }
    return frames
  }

  /** Keeps a part of the frame that has not come whole, and gives where it ends. */
  private keep(chunk: Uint8Array, from: number, frames: Array<Uint8Array>): number {
    const { unfinished } = this
    const isLengthKnown = unfinished.size >= lengthBytes
    const whole = isLengthKnown ? lengthBytes + lengthAt(unfinished.bytes, 0) : lengthBytes
    const isTooLong = whole - lengthBytes > this.maxBytes
    const wanted = isTooLong ? Math.min(whole, headBytes) : whole
    const end = Math.min(chunk.length, from + wanted - unfinished.size)
    unfinished.append(chunk.subarray(from, end))
    if (unfinished.size < wanted) return end
    if (!isLengthKnown) return this.keep(chunk, end, frames)
    if (isTooLong) this.abandon()
    // mutant: frame-in-parts
    else frames.push(unfinished.take().subarray(lengthBytes))
    return end
  }
}
