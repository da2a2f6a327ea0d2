/**
 * The clock that counts the time for which the machine was suspended.
 */
import * as Layer from "effect/Layer"
import * as Os from "node:os"
import { SuspendAwareMillis } from "../lib/monotonic.ts"

/**
 * Lets leases age while the machine is suspended (`os.uptime`, which counts that on Linux, macOS and Windows). The layers
 * of `NodeTalker` have it in them; over a store in the same process provide it beside the Talker.
 *
 * @example
 * ```ts
 * import { Layer } from "effect"
 * import { NodeClock } from "effect-dlm/node"
 * import { LockServer } from "effect-dlm/server"
 *
 * const locks = LockServer.layerTalker.pipe(
 *   Layer.provide(LockServer.layerMemory),
 *   Layer.merge(NodeClock.layerSuspendAware)
 * )
 * ```
 */
export const layerSuspendAware: Layer.Layer<never> = Layer.succeed(SuspendAwareMillis, () => Os.uptime() * 1000)
