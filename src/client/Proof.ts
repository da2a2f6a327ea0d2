/**
 * Proofs for the type checker that a lock is held.
 *
 * An Effect says in its environment what it needs to be held; what holds it takes that away. The exclusive side of a name
 * proves the shared one as well: who may write may read.
 */
import * as Context from "effect/Context"
import type { Mode } from "./Claim.ts"
import type { Lease } from "./HeldLease.ts"

/** The proof that the lock called `Name` is held exclusively. */
export interface Held<in out Name extends string> {
  readonly _held: (name: Name) => Name
}

/** The proof that the lock called `Name` is held by its shared side at least. */
export interface ReadHeld<in out Name extends string> {
  readonly _readHeld: (name: Name) => Name
}

/** The proof that permits of the semaphore called `Name` are held. */
export interface PermitHeld<in out Name extends string> {
  readonly _permitHeld: (name: Name) => Name
}

/** The proof of each way to hold a lock. */
export interface Proofs<Name extends string> {
  readonly exclusive: Held<Name>
  readonly shared: ReadHeld<Name>
  readonly permit: PermitHeld<Name>
}

/** What holding proves: the exclusive side proves the shared one, too. */
export type Proves<Name extends string, M extends Mode> = M extends "exclusive" ? Held<Name> | ReadHeld<Name>
  : Proofs<Name>[M]

/** A proof as a service, whose value is the lease. Made by `Lease.tag`. */
export interface Tag<Name extends string, M extends Mode> extends Context.Service<Proofs<Name>[M], Lease<M>> {
  readonly mode: M
  readonly lockName: Name
}

const keyOf = (name: string, mode: Mode): string => `effect-dlm/Lease/${mode}/${name}`

/**
 * A proof for the type checker: an Effect that needs it says so in its
 * environment, and runs only under `withLockProvided`. Its value is the lease.
 *
 * `mode` says which claims give it: `exclusive`, the default, `shared` (the
 * reading side of a read-write lock; its writing side gives it, too) or
 * `permit`.
 *
 * @example
 * ```ts
 * import { Effect } from "effect"
 * import { Lease } from "effect-dlm"
 *
 * const Orders = Lease.tag("orders")
 *
 * const append: Effect.Effect<void, never, Lease.Held<"orders">> = Effect.gen(function*() {
 *   const lease = yield* Orders
 *   yield* Effect.log("writing under fence", lease.fence)
 * })
 *
 * const program = append.pipe(Lease.withLockProvided(Orders, "orders.csv"))
 * ```
 */
export const tag = <const Name extends string, M extends Mode = "exclusive">(name: Name, mode?: M): Tag<Name, M> => {
  const by = (mode ?? "exclusive") as M
  return Object.assign(Context.Service<Proofs<Name>[M], Lease<M>>(keyOf(name, by)), { mode: by, lockName: name })
}

/** The lease as all that holding it proves. */
export const proofs = ({ lockName, mode }: Tag<string, Mode>, lease: Lease): Context.Context<never> => {
  const given = Context.make(Context.Service<never, Lease>(keyOf(lockName, mode)), lease)
  return mode === "exclusive"
    ? Context.add(given, Context.Service<never, Lease>(keyOf(lockName, "shared")), lease)
    : given
}
