/**
 * Cutting a stream of bytes into messages.
 */

/** So many bytes are kept of a message that is too long. */
export const beginningBytes = 256

/** Cuts a stream of bytes into messages, wherever its chunks begin and end. */
export interface Cutter {
  /** The longest message accepted, in bytes. */
  maxBytes: number
  /** True once a message was longer than the cap, or was abandoned: nothing tells where the next one begins. */
  readonly overflowed: boolean
  /** The first bytes, 256 at the most, of the message that was too long. */
  readonly beginning: Uint8Array
  /** How many bytes of an unfinished message are kept. */
  readonly pendingBytes: number
  /** The bytes of the unfinished message. */
  pending(): Uint8Array
  /** Gives up the unfinished message, as if it were longer than the cap. */
  abandon(): void
  /** Reads a chunk, and gives the messages that it completes. Each is valid as long as the chunk's memory, or until the next. */
  push(chunk: Uint8Array): Array<Uint8Array>
}
