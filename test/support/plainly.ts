/**
 * The readers of plain messages, held against the schemas: what one reads by hand the schema reads the same.
 */
import { Redacted, Result, Schema } from "effect"
import { deepStrictEqual } from "node:assert"
import * as plain from "../../src/protocol/plain.ts"
import * as Protocol from "../../src/protocol/Protocol.ts"

const decodeRequest = Schema.decodeUnknownResult(Protocol.Request)
const decodeResponse = Schema.decodeUnknownResult(Protocol.Response)

/** What can be compared: a secret is hidden, and no number of the protocol tells -0 from 0. */
export const comparable = (request: Protocol.Received): object => ({
  ...request,
  Expire: request.Expire + 0,
  ...(request.Wait === undefined ? {} : { Wait: request.Wait + 0 }),
  ...(request.Identity === undefined ? {} : { Identity: Redacted.value(request.Identity) })
})

/** Fails where a value is read by hand, and not so by its schema. Says whether it was read by hand, as what. */
export const readPlainly = (value: unknown): "Request" | "Answer" | undefined => {
  const request = plain.requestIn(value)
  if (request !== undefined) {
    deepStrictEqual(comparable(request), comparable(Result.getOrThrow(decodeRequest(value))))
    return "Request"
  }
  const answer = plain.answerIn(value)
  if (answer === undefined) return undefined
  const { Seq, response } = answer
  const { Seq: number, ...decoded } = Result.getOrThrow(decodeResponse(value))
  deepStrictEqual([Seq, response], [number, decoded])
  return "Answer"
}
