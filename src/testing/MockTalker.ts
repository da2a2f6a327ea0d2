/**
 * A Talker that answers as a test says.
 */
import * as Duration from "effect/Duration"
import * as Effect from "effect/Effect"
import * as Layer from "effect/Layer"
import { ProtocolError, type TalkError, TransportError } from "../DlmError.ts"
import { type Request, type Response, serverName } from "../protocol/Protocol.ts"
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

/** What a mock says of who holds a name. */
export interface Holder {
  /** What the holder says of itself. */
  readonly label?: string | undefined
  /** Milliseconds since 1970. By default 0. */
  readonly since?: number | undefined
  /** After how long it ends. By default a minute. */
  readonly expiresIn?: Duration.Input | undefined
  /** How many wait. By default nobody. */
  readonly waiting?: number | undefined
}

/**
 * Grants whatever is asked for, with a fence that grows: for the test of what is done under a lock. It excludes nobody; a
 * LockServer in memory does (`LockServer.layerTalkerMemory`).
 *
 * @example
 * ```ts
 * import { Effect } from "effect"
 * import { Lease } from "effect-dlm"
 * import { MockTalker } from "effect-dlm/testing"
 *
 * const test = Effect.log("alone").pipe(Lease.withLock("order/7"), Effect.provide(MockTalker.layerFree))
 * ```
 */
export const layerFree: Layer.Layer<Talker> = Layer.effect(
  Talker,
  Effect.sync(() => {
    let fence = 0
    const fences = new Map<string, string>()
    const fenceOf = (owner: string): string => {
      const known = fences.get(owner)
      if (known !== undefined) return known
      fences.set(owner, String(++fence))
      return String(fence)
    }
    return Talker.of({
      talk: ({ Action, ID }) =>
        Effect.sync((): Response => {
          switch (Action) {
            case "Lock":
              return { Status: "Locked", ID, Fence: fenceOf(ID) }
            case "Unlock":
              fences.delete(ID)
              return { Status: "Unlocked", ID }
            case "Version":
              return { Status: "Version", ID: serverName }
            case "TestLock":
              return fences.has(ID) ? { Status: "Locked", ID } : { Status: "Unlocked" }
            case "Get":
              return { Status: "NotFound" }
            default:
              return { Status: "Done" }
          }
        })
    })
  })
)

/**
 * Another holds every name, for ever.
 *
 * @example
 * ```ts
 * import { Effect } from "effect"
 * import { Lease } from "effect-dlm"
 * import { MockTalker } from "effect-dlm/testing"
 *
 * const test = Effect.log("alone").pipe(
 *   Lease.withLock("order/7", { wait: 0 }),
 *   Effect.catchTag("AcquireTimeout", ({ holder }) => Effect.log("held by", holder?.label)), // held by api-3
 *   Effect.provide(MockTalker.layerTaken({ label: "api-3" }))
 * )
 * ```
 */
export const layerTaken = (holder: Holder = {}): Layer.Layer<Talker> => {
  const taken: Response = {
    Status: "NotOwner",
    Holder: {
      ...(holder.label === undefined ? {} : { Label: holder.label }),
      Since: String(holder.since ?? 0),
      ExpiresIn: String(Duration.toMillis(holder.expiresIn ?? "1 minute"))
    },
    Waiting: String(holder.waiting ?? 0)
  }
  return layer(({ Action }) =>
    Effect.succeed<Response>(Action === "Version" ? { Status: "Version", ID: serverName } : taken)
  )
}

/** Nobody listens: every request fails with a `TransportError` (`OpenFailed`). */
export const layerDown: Layer.Layer<Talker> = layer(({ Action, FileName }) =>
  Effect.fail(new TransportError({ name: FileName, action: Action, phase: "OpenFailed" }))
)
