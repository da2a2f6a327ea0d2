/**
 * How messages are written as bytes and read from them: as lines, or as frames. Which of the two a connection speaks
 * changes nothing of what is said.
 */
import type * as Result from "effect/Result"
import type { Bytes } from "./Bytes.ts"
import type { Cutter } from "./Cutter.ts"
import type { Request, Response } from "./Messages.ts"
import type { Answer, BadRequest, BadResponse, Received } from "./reading.ts"

/** One way to write and to read messages. */
export interface Codec {
  readonly wire: "lines" | "frames"
  /** Cuts what comes into messages of at most so many bytes. */
  readonly cutter: (maxBytes: number) => Cutter
  /** Writes a request, with this number. */
  readonly writeRequest: (request: Request, number: number, to: Bytes) => void
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
