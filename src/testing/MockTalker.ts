/**
 * A Talker that answers as a test says.
 */
import * as Effect from "effect/Effect"
import * as Layer from "effect/Layer"
import { ProtocolError, type TalkError } from "../DlmError.ts"
import type { Request, Response } from "../protocol/Protocol.ts"
import { Talker } from "../transport/Talker.ts"

/** An answer, or the error in its place. */
export type Scripted = Response | TalkError | ((request: Request) => Response | TalkError)

/**
 * A Talker that answers by a function of the request, or by a script: one
 * answer for each request, in order. A request beyond the end of the script
 * fails with a `ProtocolError`.
 *
 * @example
 * ```ts
 * import { Effect } from "effect"
 * import { Locker } from "effect-dlm"
 * import { MockTalker } from "effect-dlm/testing"
 *
 * const program = Effect.gen(function*() {
 *   const locker = yield* Locker.make("orders.csv")
 *   return yield* locker.isLocked // true
 * }).pipe(Effect.provide(MockTalker.layer([{ Status: "NotOwner" }])))
 * ```
 */
export const layer = (
  answers: ReadonlyArray<Scripted> | ((request: Request) => Effect.Effect<Response, TalkError>)
): Layer.Layer<Talker> =>
  Layer.effect(
    Talker,
    Effect.sync(() => {
      if (typeof answers === "function") return Talker.of({ talk: answers })
      let next = 0
      return Talker.of({
        talk: (request) =>
          Effect.suspend(() => {
            const scripted = answers[next++]
            const answer = typeof scripted === "function" ? scripted(request) : scripted
            if (answer === undefined) {
              return Effect.fail(
                new ProtocolError({
                  name: request.FileName,
                  action: request.Action,
                  received: `nothing: the script has ${answers.length} answers`
                })
              )
            }
            return "Status" in answer ? Effect.succeed(answer) : Effect.fail(answer)
          })
      })
    })
  )
