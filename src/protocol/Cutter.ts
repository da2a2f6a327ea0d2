/**
 * Cutting a stream of bytes into messages.
 */
import { Unfinished } from "./Unfinished.ts"

/** So many bytes are kept of a message that is too long. */
export const beginningBytes = 256

const empty = new Uint8Array(0)

/** Cuts a stream of bytes into messages, wherever its chunks begin and end. */
export abstract class Cutter {
  protected readonly unfinished = new Unfinished()
  /** True once a message was longer than the cap, or was abandoned: nothing tells where the next one begins. */
  overflowed = false
  /** The first bytes, 256 at the most, of the message that was too long. */
  beginning: Uint8Array = empty
  /** The longest message accepted, in bytes, without what marks its end or its length. */
  maxBytes: number

  constructor(maxBytes: number) {
    this.maxBytes = maxBytes
  }

  /** How many bytes of an unfinished message are kept. */
  get pendingBytes(): number {
    return this.unfinished.size
  }

  /** The bytes of the unfinished message. */
  pending(): Uint8Array {
    return this.unfinished.bytes
  }

  /** Gives up the unfinished message, as if it were longer than the cap. */
  abandon(): void {
    this.overflowed = true
    this.beginning = this.pending().slice(0, beginningBytes)
    this.unfinished.clear()
  }

  /**
   * Reads a chunk, and gives the messages that it completes. One that lies wholly in the chunk is a view of it; an
   * unfinished one is copied. So the chunk's memory may be used again once its messages have been read.
   */
  abstract push(chunk: Uint8Array): Array<Uint8Array>
}
