/**
 * What the connections of one server share.
 */
import * as Clock from "effect/Clock"
import type * as Context from "effect/Context"
import * as Effect from "effect/Effect"
import type * as Fiber from "effect/Fiber"
import { BadRequests } from "./BadRequests.ts"
import { ByteBudget } from "./ByteBudget.ts"
import { Identities } from "./Identities.ts"
import { Limits } from "./Limits.ts"
import { Lingering } from "./Lingering.ts"
import { LockServer } from "./LockServer.ts"
import { RunQueue } from "./RunQueue.ts"
import { Sessions } from "./Sessions.ts"
import { Stopping } from "./Stopping.ts"

/** What the connections of one server share. */
export interface Shared {
  readonly lockServer: LockServer["Service"]
  readonly limits: Limits
  /** The longest line of a connection that has proved no identity. */
  readonly maxUnprovedLineBytes: () => number
  readonly clock: Clock.Clock
  /** The context of the server. Requests run in it, and its metrics are updated in it. */
  readonly context: Context.Context<never>
  readonly fork: <A, E>(effect: Effect.Effect<A, E>) => Fiber.Fiber<A, E>
  readonly budget: ByteBudget
  /** Lines of a client that sends many at once are worked on piece by piece, in the order of this queue. */
  readonly runQueue: RunQueue
  readonly badRequests: BadRequests
  readonly sessions: Sessions
  readonly lingering: Lingering
  readonly stopping: Stopping
}

/** The most bytes that a character takes on the wire. */
const maxWireBytesPerCharacter = 6

/** How long, in milliseconds, clients that send much are served before the event loop serves all others. */
const quantum = 2

/** Makes what the connections of a server share, with nothing in it. */
export const make: Effect.Effect<Shared, never, LockServer | Identities> = Effect.gen(function*() {
  const limits = yield* Limits
  const identities = yield* Identities
  const clock = yield* Clock.Clock
  const context = yield* Effect.context<never>()
  // A client that has an identity may say so after its data, in the same line.
  const maxUnprovedLineBytes = () =>
    Math.min(
      limits.maxLineBytes,
      limits.maxAnonymousLineBytes + identities.maxDataCharacters * maxWireBytesPerCharacter
    )
  return {
    lockServer: yield* LockServer,
    limits,
    maxUnprovedLineBytes,
    clock,
    context,
    fork: Effect.runForkWith(context),
    budget: new ByteBudget(limits, maxUnprovedLineBytes),
    runQueue: new RunQueue(clock, quantum),
    badRequests: new BadRequests(),
    sessions: new Sessions(),
    lingering: new Lingering(limits),
    stopping: new Stopping()
  }
})
