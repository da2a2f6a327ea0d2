/**
 * One request on a connection of its own, for a server that takes no more on one.
 *
 * - Such a server has no features: `Wait` is not sent, nor counted in the time for an answer.
 * - A connection without an answer is given up, so that a request that is interrupted, or whose time is over, is not
 *   carried out later than it has to be.
 */
import * as Duration from "effect/Duration"
import * as Effect from "effect/Effect"
import * as Exit from "effect/Exit"
import type * as Socket from "effect/socket/Socket"
import type { TalkError } from "../DlmError.ts"
import type { Request, Response } from "../protocol/Protocol.ts"
import { failure } from "./failure.ts"
import * as Features from "./features.ts"
import { firstAnswer, open } from "./Opening.ts"

/** Sends a request, and gives its answer. Its `Seq` changes nothing, unless the server knows it and echoes it. */
export const exchange = (request: Request, options: {
  readonly connect: Effect.Effect<Socket.Socket>
  readonly openTimeout: Duration.Duration
  readonly answerTimeout: Duration.Duration
}): Effect.Effect<Response, TalkError> =>
  Features.allow(Features.none, request)
    ? Effect.scoped(
      Effect.flatMap(open(options.connect, request, options.openTimeout), (opened) =>
        firstAnswer({ ...Features.withoutWait(request), Seq: "1" }, opened).pipe(
          Effect.timeoutOrElse({
            duration: options.answerTimeout,
            orElse: () =>
              Effect.fail(failure(request, "AnswerTimeout"))
          }),
          Effect.onExit((exit) => Exit.isSuccess(exit) ? Effect.void : Effect.sync(opened.reset))
        ))
    )
    : Effect.fail(failure(request, "Closed"))
