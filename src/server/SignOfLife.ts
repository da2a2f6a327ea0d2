/**
 * Whether a client that waits for locks still lives: one that is gone without a word would else be granted what it waits
 * for, and keep it from all others.
 */
import type * as Context from "effect/Context"
import * as Alarms from "../lib/Alarms.ts"
import { monotonicMillisUnsafe } from "../lib/monotonic.ts"
import type { Shared } from "./Shared.ts"

/** Of the silence that is allowed, this part is left when the client becomes suspect. */
const lastPart = 1 / 15

/** What a client is heard to do, while it waits. */
export class SignOfLife implements Alarms.Sleeper {
  dueAt = 0
  place = -1

  private readonly alarms: Alarms.Alarms
  private readonly clock: Shared["clock"]
  private readonly context: Context.Context<never>
  private readonly maxSilence: number
  private readonly isDeaf: () => boolean
  private readonly gone: () => void
  private isWatching = false
  private isSuspect = false
  private heardAt = 0

  /** `maxSilence` is in milliseconds. While the server does not listen, it `isDeaf`; `gone` is called after the silence. */
  constructor({ clock, context }: Shared, maxSilence: number, isDeaf: () => boolean, gone: () => void) {
    this.alarms = Alarms.of(clock)
    this.clock = clock
    this.context = context
    this.maxSilence = maxSilence
    this.isDeaf = isDeaf
    this.gone = gone
  }

  /** Says that something came from the client. */
  heard(): void {
    if (!this.isWatching) return
    this.heardAt = monotonicMillisUnsafe(this.clock)
    this.isSuspect = false
  }

  /** The client begins to wait. */
  watch(): void {
    this.isWatching = true
    this.heard()
    this.look(this.heardAt + this.maxSilence * (1 - lastPart))
  }

  /** The client waits for nothing any more. */
  stop(): void {
    this.isWatching = false
    this.alarms.clear(this)
  }

  /** Called at each look. */
  wake(): void {
    const now = monotonicMillisUnsafe(this.clock)
    if (this.isDeaf()) this.heard()
    const suspectAt = this.heardAt + this.maxSilence * (1 - lastPart)
    const last = this.maxSilence * lastPart
    if (now < suspectAt) return this.look(suspectAt)
    // What came while the whole process stood still is read only now: a look that is late proves nothing.
    if (this.isSuspect && now < this.dueAt + last) return this.gone()
    this.isSuspect = true
    this.look(now + last)
  }

  private look(at: number): void {
    this.alarms.set(this, at, this.context)
  }
}
