/**
 * Whether what the server did with an input is allowed.
 */
import { Result, Schema } from "effect"
import { isDeepStrictEqual } from "node:util"
import { frames } from "../../../src/protocol/codecs.ts"
import * as Protocol from "../../../src/protocol/Protocol.ts"
import * as byHand from "../../support/frames.ts"
import { comparable, readPlainly } from "../../support/plainly.ts"
import * as codec from "./codec.ts"
import type { Input } from "./inputs.ts"
import type { Outcome } from "./target.ts"

// What is no field of the answer must not be in it either.
const decodeResponse = Schema.decodeUnknownResult(Protocol.Response, { onExcessProperty: "error" })

const decodeRequest = Schema.decodeUnknownResult(Protocol.Request)

/** How each wire is read, by what was written for the tests alone. */
const wires = {
  lines: { split: codec.split, request: codec.read, answer: codec.read },
  frames: {
    split: (bytes: Buffer) => {
      const { frames, rest } = byHand.split(bytes)
      return { lines: frames, rest }
    },
    request: byHand.readRequest,
    answer: byHand.readAnswer
  }
}

const wireOf = ({ wire }: Input) => wires[wire ?? "lines"]

/** The status of the first answer, if there is one. */
export const firstStatus = (input: Input, { sent }: Outcome): string | undefined => {
  const { answer, split } = wireOf(input)
  const [first] = split(sent).lines
  return (first === undefined ? undefined : answer(first) as { readonly Status?: string } | undefined)?.Status
}

/** What is wrong with how a message is read by hand, against its schema. */
const wronglyRead = (value: unknown): string | undefined => {
  try {
    readPlainly(value)
    return undefined
  } catch (error) {
    return `it is not read as its schema reads it: ${String(error).slice(0, 500)}`
  }
}

/** What is wrong with how a frame is read, against what the tests and the schema make of it. */
const frameWronglyRead = (frame: Uint8Array, value: unknown): string | undefined => {
  const read = frames.readRequest(frame, 32)
  if (value === undefined) return Result.isSuccess(read) ? "a frame that is none was read" : undefined
  const expected = decodeRequest(value)
  if (Result.isFailure(expected)) return undefined
  return Result.isSuccess(read) && isDeepStrictEqual(comparable(read.success), comparable(expected.success))
    ? undefined
    : "a frame was read as another"
}

/** What is wrong with it, if anything is. */
export const wrong = (input: Input, { died, held, sent }: Outcome): string | undefined => {
  if (died !== undefined) return `the connection died: ${String(died)}`
  const wire = wireOf(input)
  const asked = wire.split(Buffer.concat(input.chunks))
  const answered = wire.split(sent)
  const requests = asked.lines.map(wire.request)
  for (const [i, value] of requests.entries()) {
    const problem = wronglyRead(value) ??
      (input.wire === "frames" ? frameWronglyRead(asked.lines[i]!, value) : undefined)
    if (problem !== undefined) return problem
  }
  if (answered.rest.length > 0) return "an answer without an end"
  if (answered.lines.length > asked.lines.length + (asked.rest.length > 0 ? 1 : 0)) return "more answers than requests"
  const answers: Array<Protocol.Response> = []
  for (const line of answered.lines) {
    const value = wire.answer(line)
    const answer = decodeResponse(value)
    if (Result.isFailure(answer)) return `no answer of the protocol: ${line.toString("latin1").slice(0, 200)}`
    answers.push(answer.success)
    const problem = wronglyRead(value)
    if (problem !== undefined) return problem
  }

  // A client that has gone gets no answer, and may still hold what it asked for.
  if (input.end === "Reset") return undefined
  const first = fieldsOf(requests[0])
  if (requests.length > 0 && answers.length === 0 && first?.["Wait"] === undefined) return "no answer"
  if (held.length === 0) return undefined
  const granted = answers.filter(({ Status }) => Status === "Locked" || Status === "Done").length
  if (granted < held.length) return `${granted} were granted, and there are: ${JSON.stringify(held).slice(0, 200)}`
  const fields = requests.map(fieldsOf)
  for (const { name, owner } of held) {
    const grant = answers.some((answer) =>
      (answer.Status === "Locked" || answer.Status === "Done") && answer.ID === owner
    )
    if (!grant || !fields.some((request) => request?.["FileName"] === name && request["ID"] === owner)) {
      return `held without a grant: ${JSON.stringify({ name, owner }).slice(0, 200)}`
    }
  }
  return undefined
}

const fieldsOf = (value: unknown): Record<string, unknown> | undefined =>
  typeof value === "object" && value !== null ? value as Record<string, unknown> : undefined
