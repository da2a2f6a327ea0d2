/**
 * Whether what the server did with an input is allowed.
 */
import { Result, Schema } from "effect"
import * as Protocol from "../../../src/protocol/Protocol.ts"
import * as codec from "./codec.ts"
import type { Input } from "./inputs.ts"
import type { Outcome } from "./target.ts"

// What is no field of the answer must not be in it either.
const decodeResponse = Schema.decodeUnknownResult(Protocol.Response, { onExcessProperty: "error" })

/** What is wrong with it, if anything is. */
export const wrong = (input: Input, { died, held, sent }: Outcome): string | undefined => {
  if (died !== undefined) return `the connection died: ${String(died)}`
  const asked = codec.split(Buffer.concat(input.chunks))
  const answered = codec.split(sent)
  if (answered.rest.length > 0) return "an answer without an end"
  if (answered.lines.length > asked.lines.length + (asked.rest.length > 0 ? 1 : 0)) return "more answers than requests"
  const answers: Array<Protocol.Response> = []
  for (const line of answered.lines) {
    const answer = decodeResponse(codec.read(line))
    if (Result.isFailure(answer)) return `no answer of the protocol: ${line.toString("latin1").slice(0, 200)}`
    answers.push(answer.success)
  }

  // A client that has gone gets no answer, and may still hold what it asked for.
  if (input.end === "Reset") return undefined
  const first = asked.lines[0]
  if (first !== undefined && answers.length === 0 && fieldsOf(first)?.["Wait"] === undefined) return "no answer"
  if (held.length === 0) return undefined
  const granted = answers.filter(({ Status }) => Status === "Locked" || Status === "Done").length
  if (granted < held.length) return `${granted} were granted, and there are: ${JSON.stringify(held).slice(0, 200)}`
  const requests = asked.lines.map(fieldsOf)
  for (const { name, owner } of held) {
    const grant = answers.some((answer) =>
      (answer.Status === "Locked" || answer.Status === "Done") && answer.ID === owner
    )
    if (!grant || !requests.some((request) => request?.["FileName"] === name && request["ID"] === owner)) {
      return `held without a grant: ${JSON.stringify({ name, owner }).slice(0, 200)}`
    }
  }
  return undefined
}

const fieldsOf = (line: Uint8Array): Record<string, unknown> | undefined => {
  const value = codec.read(line)
  return typeof value === "object" && value !== null ? value as Record<string, unknown> : undefined
}
