/**
 * The store in memory as if it were across a network: what is asked of it takes effect a while later, also when it is not
 * waited for any more, and its answer comes later still. What was asked of a name first is done first; but grants to
 * waiters are as if another server made them.
 */
import { Effect, Stream } from "effect"
import { Store } from "effect-dlm/server"
import type { Seeded } from "../../support/random.ts"
import type { Machine } from "./Simulator.ts"

export const far = (near: Store.Store["Service"], machine: Machine, random: Seeded): Store.Store["Service"] => {
  const { sim } = machine
  const latency = random.between(20, 60)
  const doneAt = new Map<string, number>()
  return Store.Store.of({
    modify: (name, decide, asker) =>
      Effect.callback((resume) => {
        const lane = `${name} ${asker?.waits ?? true}`
        const at = Math.max(sim.now + random.between(0, latency), doneAt.get(lane) ?? 0)
        doneAt.set(lane, at)
        machine.after(at - sim.now, () => {
          const exit = Effect.runSyncExit(Effect.provideContext(near.modify(name, decide, asker), machine.context))
          machine.after(random.between(0, latency), () => resume(exit))
        })
      }),
    // No other server changes it.
    sharing: { freed: Stream.never }
  })
}
