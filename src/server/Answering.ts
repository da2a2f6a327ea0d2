/**
 * An answer that is there at once, or an Effect that comes to it. Most answers of a store in memory are there at once, and
 * an Effect, and a fiber that runs it, cost more than all else that is done for them.
 */
import * as Effect from "effect/Effect"
import type { Response } from "../protocol/Protocol.ts"

/** An answer, or an Effect that comes to it: that is to be run once, before anything else is asked. */
export type Answering = Response | Effect.Effect<Response>

/** Whether the answer is there. */
export const isThere = (answering: Answering): answering is Response => "Status" in answering

/** As an Effect in either case. */
export const asEffect = (answering: Answering): Effect.Effect<Response> =>
  isThere(answering) ? Effect.succeed(answering) : answering

/** What an answer leads to, at once where it is there. */
export const whenThere = (answering: Answering, next: (response: Response) => Answering): Answering =>
  isThere(answering) ? next(answering) : Effect.flatMap(answering, (response) => asEffect(next(response)))
