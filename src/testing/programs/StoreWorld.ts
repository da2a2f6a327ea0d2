/**
 * A world over a store: a lock server in the same process, and a look at who held what, and when.
 */
import * as Clock from "effect/Clock"
import * as Context from "effect/Context"
import * as Duration from "effect/Duration"
import * as Effect from "effect/Effect"
import * as Fiber from "effect/Fiber"
import * as Layer from "effect/Layer"
import * as Metric from "effect/Metric"
import * as Scope from "effect/Scope"
import { monotonicMillisUnsafe } from "../../lib/monotonic.ts"
import { layerNone } from "../../server/Identities.ts"
import * as LockServer from "../../server/LockServer.ts"
import { type Admitted, type Change, type Entry, type Permit, type Share, Store } from "../../store/Store.ts"
import { Talker } from "../../transport/Talker.ts"
import type { Program } from "./Program.ts"
import type { Recorder } from "./Trace.ts"
import { makeOver, type Settings, type World } from "./World.ts"

/**
 * A store whose every change is written down: it is the one that says who holds a name. For a world of one's own; that of
 * `makeStore` has one.
 */
export const watchStore = (store: Store["Service"], recorder: Recorder, now: () => number): Store["Service"] => ({
  ...store,
  modify: (name, decide, asker) =>
    Effect.suspend(() => {
      let before: Entry | undefined
      let change: Change = { _tag: "Keep" }
      const outcome = store.modify(name, (entry, ...given) => {
        const decision = decide(entry, ...given)
        before = entry
        change = decision.change
        return decision
      }, asker)
      return Effect.tap(outcome, ({ fence }) =>
        Effect.sync(() => {
          if (change._tag === "Remove" && before?.owner !== undefined) {
            recorder.note({ _tag: "Freed", name, owner: before.owner })
          }
          if (change._tag === "Write") {
            const { entry: { owner }, ttlMillis } = change
            recorder.note({ _tag: "Held", name, owner, fence, until: now() + ttlMillis })
          }
          if (change._tag === "Share") noteShare(recorder, now(), name, change, before, fence)
        }))
    })
})

// One holder at the most is another than was found, or has gone. A new one has the fence that the store gave it.
const noteShare = (
  recorder: Recorder,
  now: number,
  name: string,
  { holders, limit }: Share,
  before: Entry | undefined,
  fence: bigint | undefined
): void => {
  const found: ReadonlyArray<Permit | Admitted> = before?.limit === undefined ? [] : before.holders
  for (const { identity, owner } of found) {
    const isThere = holders.some((one) => one.owner === owner && one.identity === identity)
    if (!isThere) recorder.note({ _tag: "Freed", name, owner })
  }
  for (const one of holders) {
    if (found.includes(one)) continue
    const share = { limit, weight: one.weight }
    const until = now + one.endsIn
    recorder.note({ _tag: "Held", name, owner: one.owner, fence: one.fence ?? fence, until, share })
  }
}

/** How to make a world over a store. */
export interface StoreOptions extends Settings {
  /** Makes the store of one program, which may be over what other programs use as well: then each has a `prefix`. */
  readonly store: Effect.Effect<Store["Service"], never, Scope.Scope>
}

/**
 * A world over any store: a lock server in the same process, of which each process has a Talker, and whose store is watched.
 * So the oracle knows who held what, and when, and all promises are looked at. A request takes the program's `latency` there
 * and back, and what was sent arrives, whoever still waits for it: as over a network. In all else it is as that of `make`.
 *
 * @example
 * ```ts
 * import { Effect } from "effect"
 * import { Store } from "effect-dlm/server"
 * import { Programs } from "effect-dlm/testing"
 *
 * const broken = (seed: number) =>
 *   Effect.gen(function*() {
 *     const world = yield* Programs.makeStore({ store: Store.makeMemory() })
 *     return Programs.check(yield* Programs.run(Programs.generate(seed), world))
 *   })
 * ```
 */
export const makeStore = ({ store, ...settings }: StoreOptions): Effect.Effect<World> =>
  makeOver(
    settings,
    Effect.fnUntraced(function*(program, recorder) {
      const clock = yield* Clock.Clock
      const scope = yield* Effect.scope
      const metrics = yield* Metric.FiberRuntimeMetrics
      const watched = watchStore(yield* store, recorder, () => monotonicMillisUnsafe(clock))
      const server = LockServer.layer.pipe(Layer.provide([Layer.succeed(Store, watched), layerNone]))
      const context = yield* Layer.build(Layer.fresh(server))
      return Layer.build(Layer.fresh(LockServer.layerTalker)).pipe(
        Effect.map((talkers) => far(Context.get(talkers, Talker), program, scope, metrics)),
        Effect.provideContext(context)
      )
    })
  )

// What has left runs in a fiber of the server's, which no interruption of the one who asked reaches, and which is none of
// those that the process of that one is counted to have.
const far = (
  talker: Talker["Service"],
  { latency }: Program,
  server: Scope.Scope,
  metrics: Context.Service.Shape<typeof Metric.FiberRuntimeMetrics>
): Talker["Service"] => {
  const underWay = Effect.sleep(Duration.millis(latency))
  return {
    ...talker,
    talk: (request) =>
      Effect.andThen(underWay, talker.talk(request)).pipe(
        Effect.forkIn(server, { startImmediately: true }),
        Effect.provideService(Metric.FiberRuntimeMetrics, metrics),
        Effect.flatMap(Fiber.join),
        Effect.tap(underWay)
      )
  }
}
