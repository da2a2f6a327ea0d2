/**
 * How messages are written as bytes and read from them: as lines, or as frames. Which of the two a connection speaks
 * changes nothing of what is said.
 */
import type * as Result from "effect/Result"
import type { Bytes } from "./Bytes.ts"
import type { BadRequest, BadResponse, Received } from "./JsonLines.ts"
import type { Request, Response } from "./Messages.ts"

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

/** An answer, and the number of the request that it is for. */
export interface Answer {
  readonly Seq: string | undefined
  readonly response: Response
}

/** One way to write and to read messages. */
export interface Codec {
  readonly wire: "lines" | "frames"
  /** Cuts what comes into messages of at most so many bytes. */
  readonly cutter: (maxBytes: number) => Cutter
  /** Writes a request, with this number. */
  readonly writeRequest: (request: Request, Seq: string, to: Bytes) => void
  /** Writes an answer to the request of this number. */
  readonly writeResponse: (response: Response, Seq: string | undefined, to: Bytes) => void
  /** Reads a request. What it does not know in it may nest `maxDepth` levels deep, where it can nest. */
  readonly readRequest: (message: Uint8Array, maxDepth: number) => Result.Result<Received, BadRequest>
  readonly readResponse: (message: Uint8Array) => Result.Result<Answer, BadResponse>
  /** What an error may show of bytes that were read. */
  readonly excerpt: (read: Uint8Array) => string
  /** The number of the request that begins with these bytes, if they say it. */
  readonly seqOfBeginning: (beginning: Uint8Array) => string | undefined
}
