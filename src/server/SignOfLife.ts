/**
 * Whether a client still lives. One that waits for locks, and is gone without a word, would else be granted what it waits
 * for, and keep it from all others; any other would keep its connection for ever, and with it the place of another.
 */
import type * as Context from "effect/Context"
import * as Duration from "effect/Duration"
import * as Alarms from "../lib/Alarms.ts"
import { monotonicMillisUnsafe } from "../lib/monotonic.ts"
import type { Shared } from "./Shared.ts"

/** Of the silence that is allowed, this part is left when the client becomes suspect. */
const lastPart = 1 / 15

/** What becomes of a client that is silent. */
export interface Silenced {
  /** While the server does not listen, it hears nothing. */
  isDeaf(): boolean
  /** Called after the silence. */
  gone(): void
}

/** What a client is heard to do, as long as it is connected. */
export class SignOfLife implements Alarms.Sleeper {
  dueAt = 0
  place = -1

  private readonly alarms: Alarms.Alarms
  private readonly clock: Shared["clock"]
  private readonly context: Context.Context<never>
  private readonly limits: Shared["limits"]
  private readonly client: Silenced
  private isWaiting = false
  private isSuspect = false
  private heardAt: number

  /** It listens until `end`. */
  constructor({ clock, context, limits }: Pick<Shared, "clock" | "context" | "limits">, client: Silenced) {
    this.alarms = Alarms.of(clock)
    this.clock = clock
    this.context = context
    this.limits = limits
    this.client = client
    this.heardAt = this.now()
    this.look(this.suspectAt)
  }

  /** Says that something came from the client. */
  heard(): void {
    this.heardAt = this.now()
    this.isSuspect = false
  }

  /** The client begins to wait: it is given less time from now on. */
  watch(): void {
    this.isWaiting = true
    this.heard()
    this.look(this.suspectAt)
  }

  /** The client waits for nothing any more. */
  unwatch(): void {
    this.isWaiting = false
    this.isSuspect = false
    this.look(this.suspectAt)
  }

  /** The connection has ended. */
  end(): void {
    this.alarms.clear(this)
  }

  /** Called at each look. */
  wake(): void {
    const now = this.now()
    if (this.client.isDeaf()) this.heard()
    if (now < this.suspectAt) return this.look(this.suspectAt)
    const last = this.maxSilence * lastPart
    // What came while the whole process stood still is read only now: a look that is late proves nothing.
    if (this.isSuspect && now < this.dueAt + last) return this.client.gone()
    this.isSuspect = true
    this.look(now + last)
  }

  private now(): number {
    return monotonicMillisUnsafe(this.clock)
  }

  private get maxSilence(): number {
    return Duration.toMillis(this.isWaiting ? this.limits.maxWaitingSilence : this.limits.maxIdle)
  }

  private get suspectAt(): number {
    return this.heardAt + this.maxSilence * (1 - lastPart)
  }

  private look(at: number): void {
    this.alarms.set(this, at, this.context)
  }
}
