/**
 * A Talker made unreliable, by a seeded policy.
 */
import * as Duration from "effect/Duration"
import * as Effect from "effect/Effect"
import * as Layer from "effect/Layer"
import * as Random from "effect/Random"
import { ProtocolError, TransportError } from "../DlmError.ts"
import type { Request } from "../protocol/Protocol.ts"
import { Talker } from "../transport/Talker.ts"

/** What goes wrong, and how often. Each rate is a probability from 0 to 1, of each request. */
export interface Policy {
  /** The same seed gives the same faults. */
  readonly seed: string | number
  /** The request never arrives. */
  readonly dropRequest?: number | undefined
  /** The request is carried out, and its answer never arrives. */
  readonly dropAnswer?: number | undefined
  /** The request is carried out, and garbage comes back. */
  readonly garbage?: number | undefined
  /** The request arrives a second time, after it was carried out; the first answer counts. */
  readonly duplicate?: number | undefined
  /** The answer is late, by up to `maxDelay`. */
  readonly delay?: number | undefined
  /** By default 100 ms. */
  readonly maxDelay?: Duration.Input | undefined
}

/**
 * Wraps whatever Talker is provided, and lets things go wrong.
 *
 * @example
 * ```ts
 * import { Layer } from "effect"
 * import { LockServer } from "effect-dlm/server"
 * import { FaultyTalker } from "effect-dlm/testing"
 *
 * const unreliable = FaultyTalker.layer({ seed: 1, dropAnswer: 0.2 }).pipe(
 *   Layer.provide(LockServer.layerTalker),
 *   Layer.provide(LockServer.layerMemory)
 * )
 * ```
 */
export const layer = (policy: Policy): Layer.Layer<Talker, never, Talker> =>
  Layer.effect(
    Talker,
    Effect.gen(function*() {
      const talker = yield* Talker
      const { talk } = talker
      const seeded = yield* Random.Random.pipe(Random.withSeed(policy.seed))
      const maxDelay = Duration.toMillis(policy.maxDelay ?? "100 millis")
      const happens = (rate: number | undefined) => seeded.nextDoubleUnsafe() < (rate ?? 0)
      const lost = (request: Request) =>
        Effect.fail(new TransportError({ name: request.FileName, action: request.Action, phase: "Closed" }))

      return Talker.of({
        ...talker,
        talk: (request) =>
          Effect.suspend(() => {
            // All are drawn for each request, so that one rate does not change which requests get the faults of another.
            const dropRequest = happens(policy.dropRequest)
            const dropAnswer = happens(policy.dropAnswer)
            const garbage = happens(policy.garbage)
            const duplicate = happens(policy.duplicate)
            const isLate = happens(policy.delay)
            const lateness = seeded.nextDoubleUnsafe() * maxDelay
            const delay = isLate ? lateness : 0
            if (dropRequest) return lost(request)
            let answer = talk(request)
            if (duplicate) answer = Effect.tap(answer, Effect.exit(talk(request)))
            if (delay > 0) answer = Effect.tap(answer, Effect.sleep(Duration.millis(delay)))
            if (dropAnswer) return Effect.andThen(answer, lost(request))
            if (garbage) {
              return Effect.andThen(
                answer,
                Effect.fail(
                  new ProtocolError({ name: request.FileName, action: request.Action, received: "garbage" })
                )
              )
            }
            return answer
          })
      })
    })
  )
