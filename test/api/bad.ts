/**
 * What users get wrong, and what the compiler must tell them: each gives one error, of this code, that says these words.
 * `npm run check` leaves this file out; test/system/api and `npm run package:check` hold it (see `mistakes.ts`).
 */
import { Effect } from "effect"
import { Lease, Locker } from "effect-dlm"
import { Fence } from "effect-dlm/fence"
import type { SqlClient } from "effect/sql"

declare const body: Effect.Effect<number>
declare const append: Effect.Effect<void, never, Lease.Held<"orders">>
declare const readWriteLock: {
  readonly name: string
  readonly read: Lease.Claim<"shared">
  readonly write: Lease.Claim<"exclusive">
}
declare const permits: Lease.Claim<"permit">
declare const guard: Fence.GuardedKeyValueStore
declare const client: SqlClient.SqlClient
const Orders = Lease.tag("orders")

// 1. A misspelt option.
// TS2769: 'wiat' does not exist in type 'AcquireOptions'
export const bad1 = body.pipe(Lease.withLock("x", { wiat: "2 seconds" }))

// 2. The same, data-first.
// TS2353: 'wiat' does not exist in type 'AcquireOptions'
export const bad2 = Lease.withLock(body, "x", { wiat: "2 seconds" })

// 3. What is neither a name nor a claim.
// TS2345: 'number' is not assignable to parameter of type 'Target'
export const bad3 = body.pipe(Lease.withLock(42))

// 4. A Locker that was not yielded.
// TS2345: 'Effect<Locker, InvalidOption, Talker>' is not assignable to parameter of type 'Target'
export const bad4 = body.pipe(Lease.withLock(Locker.make("x")))

// 5. The same, data-first.
// TS2769: 'Effect<Locker, InvalidOption, Talker>' is not assignable to parameter of type 'Target'
export const bad5 = Lease.withLock(body, Locker.make("x"))

// 6. A thing that has claims, but is none.
// TS2345: '[ClaimTypeId]' is missing in type '{ readonly name: string; readonly read: Claim<"shared">;
export const bad6 = body.pipe(Lease.withLock(readWriteLock))

// 7. What is no duration.
// TS2769: '"2 secnds"' is not assignable to type 'Input | undefined'
export const bad7 = body.pipe(Lease.withLock("x", { wait: "2 secnds" }))

// 8. A layer that is missing.
// TS2379: Type 'Talker' is not assignable to type 'never'
Effect.runPromise(body.pipe(Lease.withLock("x")))

// 9. The reading side, for a proof of the writing one.
// TS2345: 'Claim<"shared">' is not assignable to parameter of type 'Target<"exclusive">'
export const bad9 = append.pipe(Lease.withLockProvided(Orders, readWriteLock.read))

// 10. The same, data-first.
// TS2769: 'Claim<"shared">' is not assignable to parameter of type 'Target<"exclusive">'
export const bad10 = Lease.withLockProvided(append, Orders, readWriteLock.read)

// 11. A misspelt option of `use`.
// TS2561: 'lable' does not exist in type 'AcquireOptions'. Did you mean to write 'label'?
export const bad11 = Lease.use("x", { lable: "a" }, (lease) => Effect.succeed(lease.fence))

// 12. The name was forgotten.
// TS2353: 'wait' does not exist in type 'Claim<Mode>'
export const bad12 = body.pipe(Lease.withLock({ wait: "1 second" }))

// 13. The Effect in the place of the options.
// TS2769: 'Effect<number, never, never>' has no properties in common with type 'AcquireOptions'
export const bad13 = Lease.withLock("x", body)

// 14. A proof that is missing.
// TS2379: Type 'Held<"orders">' is not assignable to type 'never'
Effect.runPromise(append)

// 15. A misspelt reason.
// TS2345: '"ServerBussy"' is not assignable to parameter of type '"Conflict" | "Deadlock" | "FeatureMissing"
export const bad15 = body.pipe(
  Lease.withLock("x"),
  Effect.catchReason("LockUnavailable", "ServerBussy", () => Effect.succeed(1))
)

// 16. A misspelt error.
// TS2345: '"LeaseLots"' is not assignable to parameter of type '"AcquireTimeout" | "LeaseLost" | "LockUnavailable"
export const bad16 = body.pipe(Lease.withLock("x"), Effect.catchTag("LeaseLots", () => Effect.succeed(1)))

// 17. A wait where none is waited for.
// TS2769: 'wait' does not exist in type 'HoldOptions'
export const bad17 = body.pipe(Lease.withLockIfAvailable("x", { wait: "2 seconds" }))

// 18. The same, data-first.
// TS2353: 'wait' does not exist in type 'HoldOptions'
export const bad18 = Lease.withLockIfAvailable(body, "x", { wait: "2 seconds" })

// 19. The same, with a proof.
// TS2769: 'wait' does not exist in type 'HoldOptions'
export const bad19 = append.pipe(Lease.withLockProvidedIfAvailable(Orders, "x", { wait: "2 seconds" }))

// 20. One name, where several are locked.
// TS2345: 'string' is not assignable to parameter of type 'Targets<string>'
export const bad20 = body.pipe(Lease.withLocks("abc"))

// 21. The same, data-first.
// TS2769: 'string' is not assignable to parameter of type 'Targets<Target>'
export const bad21 = Lease.withLocks(body, "abc")

// 22. A Locker that was not yielded, among several targets.
// TS2345: Type 'Effect<Locker, InvalidOption, Talker>' is not assignable to type 'Target'
export const bad22 = body.pipe(Lease.withLocks(["a", Locker.make("b")]))

// 23. A misspelt option, of several targets.
// TS2769: 'wiat' does not exist in type 'AcquireOptions'
export const bad23 = body.pipe(Lease.withLocks(["a", "b"], { wiat: "2 seconds" }))

// 24. A misspelt option, with a proof.
// TS2769: 'wiat' does not exist in type 'AcquireOptions'
export const bad24 = append.pipe(Lease.withLockProvided(Orders, "x", { wiat: "2 seconds" }))

// 25. The name of a tag in its place.
// TS2769: 'string' is not assignable to parameter of type 'AnyTag'
export const bad25 = Lease.withLockProvided(append, "orders", "x")

// 26. A tag without a target.
// TS2554: Expected 2-4 arguments, but got 1
export const bad26 = append.pipe(Lease.withLockProvided(Orders))

// 27. The reading side, among several proofs of the writing one.
// TS2322: 'Claim<"shared">' is not assignable to type 'Claim<"shared"> & Target<"exclusive">'
export const bad27 = append.pipe(Lease.withLocksProvided([[Orders, readWriteLock.read]]))

// 28. A misspelt option, with several proofs.
// TS2769: 'wiat' does not exist in type 'AcquireOptions'
export const bad28 = append.pipe(Lease.withLocksProvided([[Orders, "x"]], { wiat: "2 seconds" }))

// 29. A misspelt mode.
// TS2345: '"share"' is not assignable to parameter of type 'Mode | undefined'
export const bad29 = Lease.tag("orders", "share")

// 30. A misspelt default.
// TS2353: 'wiat' does not exist in type 'AcquireOptions'
export const bad30 = Lease.layerDefaults({ wiat: "2 seconds" })

// 31. A Locker that was not yielded, for a scope.
// TS2345: 'Effect<Locker, InvalidOption, Talker>' is not assignable to parameter of type 'Target'
export const bad31 = Lease.acquire(Locker.make("x"))

// 32. A body that is no Effect.
// TS2375: Type 'Option<bigint>' is not assignable to type 'Effect<unknown, unknown, unknown>'
export const bad32 = Lease.use("x", (lease) => lease.fence)

// 33. A misspelt option of a Locker.
// TS2353: 'tll' does not exist in type 'Options'
export const bad33 = Locker.make("x", { tll: "2 seconds" })

// 34. A permit, to write under: its fence guards nothing.
// TS2345: 'Lease<"permit">' is not assignable to parameter of type 'Lease<"exclusive">'
export const bad34 = Lease.use(permits, (lease) => guard.set("a", "x", lease))

// 35. The same, to read under.
// TS2345: 'Lease<"permit">' is not assignable to parameter of type 'Lease<"exclusive" | "shared">'
export const bad35 = Lease.use(permits, (lease) => guard.read("a", lease))

// 36. The same, in a database.
// TS2345: 'Lease<"permit">' is not assignable to parameter of type 'Lease<"exclusive" | "shared">'
export const bad36 = Lease.use(permits, (lease) => body.pipe(Fence.sql(client, lease)))

// 37. The reading side, to write under.
// TS2345: 'Lease<"shared">' is not assignable to parameter of type 'Lease<"exclusive">'
export const bad37 = Lease.use(readWriteLock.read, (lease) => guard.set("a", "x", lease))

// 38. A lease of whatever mode, to write under.
// TS2345: 'Lease<Mode>' is not assignable to parameter of type 'Lease<"exclusive">'
export const bad38 = (lease: Lease.Lease) => guard.set("a", "x", lease)
