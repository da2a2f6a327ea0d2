/**
 * What the locks protect: a store on the other side of the network, whose
 * guard looks at the fences; or, for the control, one without a guard.
 */
import { Effect, Exit, Option } from "effect"
import type { Lease } from "effect-dlm"
import { Fence } from "effect-dlm/fence"
import { KeyValueStore } from "effect/persistence"
import type { History } from "../../support/history/History.ts"
import type { Machine } from "./Simulator.ts"

/** How long a question for a value takes, in milliseconds. */
const soon = 0.1

export class Resource {
  private readonly values = new Map<string, string>()
  private readonly machine: Machine
  private readonly history: History
  private readonly guarded: boolean
  private readonly delay: () => number
  constructor(
    machine: Machine,
    history: History,
    options: { readonly guarded: boolean; readonly delay: () => number }
  ) {
    this.machine = machine
    this.history = history
    this.guarded = options.guarded
    this.delay = options.delay
  }

  private readonly store = KeyValueStore.makeStringOnly({
    get: (key) => Effect.sync(() => this.values.get(key)),
    set: (key, value) =>
      Effect.sync(() => {
        this.values.set(key, value)
        const { fence, writer } = JSON.parse(value) as { readonly fence: string; readonly writer?: string }
        // With a writer of before it is the note of a reader.
        if (writer === undefined) this.history.write(key, BigInt(fence), true)
      }),
    remove: (key) => Effect.sync(() => this.values.delete(key)),
    clear: Effect.sync(() => this.values.clear()),
    keys: Effect.sync(() => Array.from(this.values.keys())),
    size: Effect.sync(() => this.values.size)
  })

  private readonly guard = Fence.keyValueStore(this.store)

  /** Asks for the value under a lease, a moment later, whether or not it still lasts. */
  read(lease: Lease.Lease<"exclusive">): void {
    const { fence } = lease
    if (!this.guarded || Option.isNone(fence)) return
    this.machine.after(soon, () => {
      const tell = this.history.read(lease.name, fence.value)
      const reading = Effect.exit(this.guard.read(lease.name, lease))
      this.machine.fork(Effect.map(reading, (exit) => tell(Exit.isSuccess(exit))))
    })
  }

  /** Sends a write under a lease: it arrives later, whether or not the lease still lasts. */
  write(from: Machine, lease: Lease.Lease<"exclusive">): Effect.Effect<void> {
    return Effect.callback((resume) => {
      const fence = Option.getOrThrow(lease.fence)
      this.machine.after(this.delay(), () => {
        const writing = this.guarded
          ? this.guard.set(lease.name, from.name, lease)
          : this.store.set(lease.name, JSON.stringify({ fence: String(fence), value: from.name }))
        this.machine.fork(Effect.onExit(Effect.exit(writing), (exit) =>
          Effect.sync(() => {
            if (Exit.isSuccess(exit) && Exit.isFailure(exit.value)) this.history.write(lease.name, fence, false)
            from.after(this.delay(), () => resume(Effect.void))
          })))
      })
    })
  }
}
