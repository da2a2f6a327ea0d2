/**
 * A Talker made unreliable: by a policy, seeded, and by faults that a test switches on and off.
 */
import * as Context from "effect/Context"
import * as Duration from "effect/Duration"
import * as Effect from "effect/Effect"
import * as Layer from "effect/Layer"
import * as Random from "effect/Random"
import { ProtocolError, TransportError } from "../DlmError.ts"
import type { Request, Response } from "../protocol/Protocol.ts"
import { Talker } from "../transport/Talker.ts"

/** How often what goes wrong. Each rate is a probability from 0 to 1, of each request; by default 0. */
export interface Rates {
  /** Nobody listens: the request fails with `OpenFailed`. */
  readonly refuse?: number | undefined
  /** The request never arrives, and nobody hears of that: it has no end but an interruption. */
  readonly hang?: number | undefined
  /** The server answers that it cannot do it now. */
  readonly busy?: number | undefined
  /** The request never arrives: it fails with `Closed`. */
  readonly dropRequest?: number | undefined
  /** The request is carried out, and its answer never arrives: it fails with `Closed`. */
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

/** What goes wrong, and how often, by a seed. */
export interface Policy extends Rates {
  /** The same seed gives the same faults. */
  readonly seed: string | number
}

/**
 * The faults of a FaultyTalker, which a test switches on and off while a program runs.
 *
 * A Talker that closes waits for leases that are given back, at most 5 seconds. By a `TestClock` those only pass where the test
 * lets them: after an outage let two `ttl` go by before the test ends.
 *
 * @example
 * ```ts
 * import { Effect } from "effect"
 * import { Lease } from "effect-dlm"
 * import { LockServer } from "effect-dlm/server"
 * import { FaultyTalker } from "effect-dlm/testing"
 *
 * const test = Effect.gen(function*() {
 *   const faults = yield* FaultyTalker.Faults
 *   yield* Effect.log("paid").pipe(Lease.withLock("order/7"))
 *   yield* faults.set({ refuse: 1 }) // from now on nobody listens
 *   const error = yield* Effect.flip(Effect.log("paid").pipe(Lease.withLock("order/7", { wait: 0 })))
 *   yield* Effect.log(error._tag) // LockUnavailable
 *   yield* faults.clear
 * }).pipe(Effect.provide(FaultyTalker.layerOver(LockServer.layerTalkerMemory)))
 * ```
 */
export class Faults extends Context.Service<Faults, {
  /** From now on these faults, in place of those of the policy and of `set` before, wherever no `during` runs. */
  readonly set: (rates: Rates) => Effect.Effect<void>
  /** From now on no faults, wherever no `during` runs. */
  readonly clear: Effect.Effect<void>
  /** These faults while an Effect runs, in place of all others. Of several that run at a time the newest counts. */
  readonly during: (rates: Rates) => <A, E, R>(self: Effect.Effect<A, E, R>) => Effect.Effect<A, E, R>
}>()("effect-dlm/testing/FaultyTalker/Faults") {}

type Seeded = Context.Service.Shape<typeof Random.Random>

/** What becomes of one request. All is drawn for each, so that one rate does not change which requests another meets. */
const drawn = (random: Seeded, rates: Rates) => {
  const happens = (rate: number | undefined) => random.nextDoubleUnsafe() < (rate ?? 0)
  return {
    dropRequest: happens(rates.dropRequest),
    dropAnswer: happens(rates.dropAnswer),
    garbage: happens(rates.garbage),
    duplicate: happens(rates.duplicate),
    isLate: happens(rates.delay),
    lateness: random.nextDoubleUnsafe() * Duration.toMillis(rates.maxDelay ?? "100 millis"),
    refuse: happens(rates.refuse),
    hang: happens(rates.hang),
    busy: happens(rates.busy)
  }
}

const failed = ({ Action, FileName }: Request, phase: TransportError["phase"]) =>
  Effect.fail(new TransportError({ name: FileName, action: Action, phase }))

const garbage = ({ Action, FileName }: Request) =>
  Effect.fail(new ProtocolError({ name: FileName, action: Action, received: "garbage" }))

const faulty =
  (talker: Talker["Service"], random: Seeded, rates: () => Rates): Talker["Service"]["talk"] => (request) =>
    Effect.suspend((): ReturnType<typeof talker.talk> => {
      const fate = drawn(random, rates())
      if (fate.refuse) return failed(request, "OpenFailed")
      if (fate.hang) return Effect.never
      if (fate.busy) return Effect.succeed<Response>({ Status: "NO" })
      if (fate.dropRequest) return failed(request, "Closed")
      let answer = talker.talk(request)
      if (fate.duplicate) answer = Effect.tap(answer, Effect.exit(talker.talk(request)))
      if (fate.isLate && fate.lateness > 0) answer = Effect.tap(answer, Effect.sleep(Duration.millis(fate.lateness)))
      if (fate.dropAnswer) return Effect.andThen(answer, failed(request, "Closed"))
      return fate.garbage ? Effect.andThen(answer, garbage(request)) : answer
    })

/** What a test switches, and the rates that count now. */
const switches = (policy: Rates) => {
  let base = policy
  // One may end before another that began earlier, so none can put back what it found.
  const during = new Set<{ readonly rates: Rates }>()
  const set = (rates: Rates) => Effect.sync(() => void (base = rates))
  const faults: Faults["Service"] = {
    set,
    clear: set({}),
    during: (rates) => (self) =>
      Effect.acquireUseRelease(
        Effect.sync(() => {
          const own = { rates }
          during.add(own)
          return own
        }),
        () => self,
        (own) => Effect.sync(() => during.delete(own))
      )
  }
  return { faults, rates: () => [...during].at(-1)?.rates ?? base }
}

/**
 * Wraps whatever Talker is provided, and lets things go wrong: by the rates of the policy until a test sets others, by the
 * `Faults` that it gives. Without a policy nothing goes wrong by itself.
 *
 * @example
 * ```ts
 * import { Layer } from "effect"
 * import { LockServer } from "effect-dlm/server"
 * import { FaultyTalker } from "effect-dlm/testing"
 *
 * const unreliable = FaultyTalker.layer({ seed: 1, dropAnswer: 0.2 }).pipe(
 *   Layer.provide(LockServer.layerTalkerMemory)
 * )
 * ```
 */
export const layer = (policy: Policy = { seed: 0 }): Layer.Layer<Talker | Faults, never, Talker> =>
  Layer.effectContext(Effect.gen(function*() {
    const talker = yield* Talker
    const random = yield* Random.Random.pipe(Random.withSeed(policy.seed))
    const { faults, rates } = switches(policy)
    // A Talker may be an object of a class: a spread would miss what its prototype has, and lose its `this`.
    const { background, features, featuresOf } = talker
    return Context.make(Talker, {
      talk: faulty(talker, random, rates),
      features,
      featuresOf: featuresOf?.bind(talker),
      background: background?.bind(talker)
    }).pipe(Context.add(Faults, faults))
  }))

/** As `layer`, over a Talker. */
export const layerOver = <E, R>(
  talker: Layer.Layer<Talker, E, R>,
  policy?: Policy
): Layer.Layer<Talker | Faults, E, R> => layer(policy).pipe(Layer.provide(talker))
