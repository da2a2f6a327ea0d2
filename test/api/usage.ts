/**
 * What users write, with the exact types that come out of it: that this compiles is the test. It is tried against the sources
 * (`npm run check`) and against the packed package (`npm run package:check`). What users get wrong is in `bad.ts`.
 */
import { Config, Context, Effect, Layer, Option, Redacted, Schema, Scope } from "effect"
import { Lease, Locker } from "effect-dlm"
import type { DlmError, Talker } from "effect-dlm"
import { Fence } from "effect-dlm/fence"
import { HttpApi, HttpApiBuilder, HttpApiEndpoint, HttpApiGroup } from "effect/http-api"
import type { KeyValueStore } from "effect/persistence"
import type { SqlClient, SqlError } from "effect/sql"

type Eq<A, B> = (<T>() => T extends A ? 1 : 2) extends (<T>() => T extends B ? 1 : 2) ? true : false
const ok = <T extends true>(..._: ReadonlyArray<T>) => {}

type Needed = Talker.Talker
type Failures = DlmError.AcquireTimeout | DlmError.LeaseLost | DlmError.LockUnavailable
type FailuresIfAvailable = DlmError.LeaseLost | DlmError.LockUnavailable

class Boom {
  readonly _tag = "Boom"
}
class Payments extends Context.Service<Payments, { readonly currency: string }>()("Payments") {}

declare const id: string
declare const pay: (id: string) => Effect.Effect<number, Boom, Payments>
declare const locker: Locker.Locker
declare const either: string | Locker.Locker
declare const read: Lease.Claim<"shared">
declare const write: Lease.Claim<"exclusive">
declare const permit: Lease.Claim<"permit">

declare const guard: Fence.GuardedKeyValueStore
declare const client: SqlClient.SqlClient
type GuardFailures = Fence.StaleFence | Fence.NoFence | Fence.WrongMode
type StoreFailures = KeyValueStore.KeyValueStoreError | Schema.SchemaError

type Paid = Effect.Effect<number, Boom | Failures, Payments | Needed>
/** By a claim, which brings its Talker. */
type PaidByClaim = Effect.Effect<number, Boom | Failures, Payments>

// --- Around one Effect: by a name, by a claim, by either.

export const byName = pay(id).pipe(Lease.withLock(`order/${id}`, { wait: "2 seconds" }))
ok<Eq<typeof byName, Paid>>()
export const byNameFirst = Lease.withLock(pay(id), `order/${id}`, { wait: "2 seconds" })
ok<Eq<typeof byNameFirst, Paid>>()
export const byLocker = pay(id).pipe(Lease.withLock(locker))
ok<Eq<typeof byLocker, PaidByClaim>>()
export const byLockerFirst = Lease.withLock(pay(id), locker)
ok<Eq<typeof byLockerFirst, PaidByClaim>>()
export const byEither = pay(id).pipe(Lease.withLock(either))
ok<Eq<typeof byEither, Paid>>()
export const byPermit = pay(id).pipe(Lease.withLock(permit))
ok<Eq<typeof byPermit, PaidByClaim>>()
export const held = pay(id).pipe(
  Lease.withLock("x", { ttl: "10 seconds", margin: "1 second", maxHold: "1 minute", label: "api-3", wait: 500 })
)
ok<Eq<typeof held, Paid>>()
// Options that may be undefined, as those of a caller.
export const withWait = (wait: string | undefined) =>
  pay(id).pipe(Lease.withLock("x", { wait: wait === undefined ? undefined : "2 seconds" }))
export const ofAnyTarget = <T extends Lease.Target>(target: T) => pay(id).pipe(Lease.withLock(target))
ok<Eq<ReturnType<typeof ofAnyTarget<string>>, Paid>>()
ok<Eq<ReturnType<typeof ofAnyTarget<Locker.Locker>>, PaidByClaim>>()
export const fnPipe = Effect.fn("pay")(
  function*(id: string) {
    return yield* pay(id)
  },
  (self, id) => Lease.withLock(self, `order/${id}`)
)
ok<Eq<ReturnType<typeof fnPipe>, Paid>>()

// --- Without waiting.

type PaidIfFree = Effect.Effect<Option.Option<number>, Boom | FailuresIfAvailable, Payments | Needed>
export const ifFree = pay(id).pipe(Lease.withLockIfAvailable("x"))
ok<Eq<typeof ifFree, PaidIfFree>>()
export const ifFreeFirst = Lease.withLockIfAvailable(pay(id), "x", { ttl: "5 seconds" })
ok<Eq<typeof ifFreeFirst, PaidIfFree>>()
export const ifFreeByLocker = pay(id).pipe(Lease.withLockIfAvailable(locker))
ok<Eq<typeof ifFreeByLocker, Effect.Effect<Option.Option<number>, Boom | FailuresIfAvailable, Payments>>>()

// --- Several at once.

export const several = pay(id).pipe(Lease.withLocks(["a", locker], { wait: "1 second" }))
ok<Eq<typeof several, Paid>>()
export const severalLockers = pay(id).pipe(Lease.withLocks([locker, locker]))
ok<Eq<typeof severalLockers, PaidByClaim>>()
export const severalFirst = Lease.withLocks(pay(id), new Set(["a", "b"]))
ok<Eq<typeof severalFirst, Paid>>()

// --- With the lease in hand.

type WithFence = Effect.Effect<Option.Option<bigint>, Boom | Failures, Payments | Needed>
export const used = Lease.use("nightly", { label: "report" }, (lease) => Effect.as(pay(id), lease.fence))
ok<Eq<typeof used, WithFence>>()
export const usedPlainly = Lease.use("nightly", (lease) => Effect.as(pay(id), lease.fence))
ok<Eq<typeof usedPlainly, WithFence>>()
export const usedByFn = Lease.use(
  "nightly",
  Effect.fn("nightly")(function*(lease) {
    yield* pay(id)
    return lease.fence
  })
)
ok<Eq<typeof usedByFn, WithFence>>()
export const usedShared = Lease.use(read, (lease) => Effect.succeed(lease.mode))
ok<Eq<typeof usedShared, Effect.Effect<"shared", Failures>>>()

// --- What a guard takes: to write an exclusive lease, to read a shared one too.

export const guardedWrite = Lease.use(write, (lease) => guard.set("a", "x", lease))
ok<Eq<typeof guardedWrite, Effect.Effect<void, Failures | GuardFailures | StoreFailures>>>()
export const guardedRead = Lease.use(read, (lease) => guard.read("a", lease))
ok<Eq<typeof guardedRead, Effect.Effect<string | undefined, Failures | GuardFailures | StoreFailures>>>()
export const guardedReadAlone = Lease.use("x", (lease) => guard.read("a", lease))
ok<Eq<typeof guardedReadAlone, Effect.Effect<string | undefined, Failures | GuardFailures | StoreFailures, Needed>>>()
export const guardedSql = Lease.use("x", (lease) => pay(id).pipe(Fence.sql(client, lease)))
ok<
  Eq<
    typeof guardedSql,
    Effect.Effect<number, Boom | Failures | GuardFailures | Fence.NotMigrated | SqlError.SqlError, Payments | Needed>
  >
>()
export const guardedSqlRead = Lease.use(read, (lease) => pay(id).pipe(Fence.sql(client, lease)))
ok<
  Eq<
    typeof guardedSqlRead,
    Effect.Effect<number, Boom | Failures | GuardFailures | Fence.NotMigrated | SqlError.SqlError, Payments>
  >
>()

// --- For as long as a scope.

export const acquired = Lease.acquire("x", { wait: "1 second" })
ok<Eq<typeof acquired, Effect.Effect<Lease.Lease<"exclusive">, Failures, Scope.Scope | Needed>>>()
export const acquiredByLocker = Lease.acquire(locker)
ok<Eq<typeof acquiredByLocker, Effect.Effect<Lease.Lease<"exclusive">, Failures, Scope.Scope>>>()
export const acquiredPermit = Lease.acquire(permit)
ok<Eq<typeof acquiredPermit, Effect.Effect<Lease.Lease<"permit">, Failures, Scope.Scope>>>()
export const inGen = Effect.scoped(Effect.gen(function*() {
  const lease = yield* Lease.acquire("x")
  return lease.name
}))
ok<Eq<typeof inGen, Effect.Effect<string, Failures, Needed>>>()

// --- Defaults of a program.

ok<Eq<typeof Lease.Defaults, Context.Reference<Lease.AcquireOptions>>>()
export const hasty = byName.pipe(Effect.provideService(Lease.Defaults, { wait: "1 second" }))
ok<Eq<typeof hasty, Paid>>()
export const defaults = Lease.layerDefaults({
  wait: "10 seconds",
  label: "api-3",
  identity: { name: "api", secret: Redacted.make("secret") }
})
ok<Eq<typeof defaults, Layer.Layer<never>>>()
ok<Eq<typeof Lease.layerDefaultsConfig, Layer.Layer<never, Config.ConfigError>>>()
export const configured = byName.pipe(Effect.provide(Lease.layerDefaultsConfig))
ok<Eq<typeof configured, Effect.Effect<number, Boom | Failures | Config.ConfigError, Payments | Needed>>>()

// --- Errors, and their reasons.

export const busy = byName.pipe(
  Effect.catchReason("LockUnavailable", "ServerBusy", (reason: DlmError.ServerBusy) => Effect.succeed(reason.name))
)
ok<Eq<Effect.Success<typeof busy>, number | string>>()
export const reasons = byName.pipe(Effect.catchReasons("LockUnavailable", {
  ServerBusy: () => Effect.succeed("busy" as const),
  TransportError: ({ phase }) => Effect.succeed(phase)
}))
ok<
  Eq<
    Effect.Success<typeof reasons>,
    number | "busy" | "OpenFailed" | "OpenTimeout" | "AnswerTimeout" | "Closed" | "Released"
  >
>()
export const expired = byName.pipe(
  Effect.catchReason("LeaseLost", "Expired", (_: DlmError.Expired) => Effect.succeed(0), () => Effect.succeed(1))
)
ok<Eq<Effect.Error<typeof expired>, Boom | DlmError.AcquireTimeout | DlmError.LockUnavailable>>()
export const unwrapped = byName.pipe(
  Effect.unwrapReason("LockUnavailable"),
  Effect.catchTag("ServerBusy", () => Effect.succeed(1))
)
export const byTags = byName.pipe(
  Effect.catchTag(["LockUnavailable", "LeaseLost"], (error) => Effect.succeed(error.reason._tag))
)
ok<Eq<Effect.Error<typeof byTags>, Boom | DlmError.AcquireTimeout>>()
export const whoHolds = byName.pipe(Effect.catchTags({
  AcquireTimeout: ({ holder, waiting }) => Effect.succeed(`${holder?.label ?? "another"}, ${waiting ?? 0}`)
}))
ok<Eq<Effect.Error<typeof whoHolds>, Boom | FailuresIfAvailable>>()

// --- Proofs.

const Orders = Lease.tag("orders")
const OrdersRead = Lease.tag("orders", "shared")
const ApiPermit = Lease.tag("api", "permit")
const Stock = Lease.tag("stock")
declare const append: Effect.Effect<void, Boom, Lease.Held<"orders">>
declare const readAll: Effect.Effect<void, Boom, Lease.ReadHeld<"orders">>
declare const geocode: Effect.Effect<void, Boom, Lease.PermitHeld<"api">>
declare const ship: Effect.Effect<void, Boom, Lease.Held<"orders"> | Lease.Held<"stock"> | Payments>

type Done<R = never> = Effect.Effect<void, Boom | Failures, R>
type DoneIfFree<R = never> = Effect.Effect<Option.Option<void>, Boom | FailuresIfAvailable, R>

export const proved = append.pipe(Lease.withLockProvided(Orders, "orders.csv", { wait: "1 second" }))
ok<Eq<typeof proved, Done<Needed>>>()
export const provedFirst = Lease.withLockProvided(append, Orders, locker)
ok<Eq<typeof provedFirst, Done>>()
export const provedSharedByName = readAll.pipe(Lease.withLockProvided(OrdersRead, "orders"))
export const provedSharedByWrite = readAll.pipe(Lease.withLockProvided(OrdersRead, write))
export const provedMixed = Effect.all([readAll, geocode]).pipe(
  Lease.withLocksProvided([[OrdersRead, read], [ApiPermit, permit]])
)
export const optional = (options: Lease.AcquireOptions | undefined) => Lease.use("x", options, () => Effect.void)
export const provedShared = readAll.pipe(Lease.withLockProvided(OrdersRead, read))
ok<Eq<typeof provedShared, Done>>()
export const provedByWriting = readAll.pipe(Lease.withLockProvided(Orders, write))
ok<Eq<typeof provedByWriting, Done>>()
// A name is held exclusively, and so proves the shared side as well.
export const provedByName = Effect.andThen(append, readAll).pipe(Lease.withLockProvided(Orders, "x"))
ok<Eq<typeof provedByName, Done<Needed>>>()
export const notProved = append.pipe(Lease.withLockProvided(OrdersRead, read))
ok<Eq<typeof notProved, Done<Lease.Held<"orders">>>>()
export const provedPermit = geocode.pipe(Lease.withLockProvided(ApiPermit, permit))
ok<Eq<typeof provedPermit, Done>>()
export const inTag = Effect.gen(function*() {
  const lease = yield* Orders
  return lease.fence
}).pipe(Lease.withLockProvided(Orders, "x"))
ok<Eq<typeof inTag, Effect.Effect<Option.Option<bigint>, Failures, Needed>>>()

export const provedIfFree = append.pipe(Lease.withLockProvidedIfAvailable(Orders, "x", { ttl: "5 seconds" }))
ok<Eq<typeof provedIfFree, DoneIfFree<Needed>>>()
export const provedIfFreeFirst = Lease.withLockProvidedIfAvailable(readAll, OrdersRead, read)
ok<Eq<typeof provedIfFreeFirst, DoneIfFree>>()

export const provedAll = ship.pipe(
  Lease.withLocksProvided([[Orders, "orders/7"], [Stock, locker]], { wait: "5 seconds" })
)
ok<Eq<typeof provedAll, Done<Payments | Needed>>>()
export const provedAllFirst = Lease.withLocksProvided(ship, [[Orders, write], [Stock, locker]])
ok<Eq<typeof provedAllFirst, Done<Payments>>>()
export const provedOne = ship.pipe(Lease.withLocksProvided([[Orders, "orders/7"]]))
ok<Eq<typeof provedOne, Done<Lease.Held<"stock"> | Payments | Needed>>>()

// --- The errors of a lock as those of an HTTP API.

class Busy extends Schema.TaggedError<Busy>()("Busy", {
  by: Schema.optional(Schema.String),
  since: Schema.optional(Schema.DateTimeUtc)
}, { httpApiStatus: 409 }) {}
class Down extends Schema.TaggedError<Down>()("Down", { retry: Schema.Boolean }, { httpApiStatus: 503 }) {}
class Api extends HttpApi.make("api").add(
  HttpApiGroup.make("orders").add(
    HttpApiEndpoint.post("pay", "/orders/:id/pay", {
      params: { id: Schema.String },
      success: Schema.Number,
      error: [Busy, Down]
    })
  )
) {}
declare const payInTheEnd: (id: string) => Effect.Effect<number>
export const orders = HttpApiBuilder.group(
  Api,
  "orders",
  (handlers) =>
    handlers.handle("pay", ({ params }) =>
      payInTheEnd(params.id).pipe(
        Lease.withLock(`order/${params.id}`, { wait: "2 seconds" }),
        Effect.catchTags({
          AcquireTimeout: ({ holder }) => Effect.fail(new Busy({ by: holder?.label, since: holder?.since })),
          LockUnavailable: ({ isRetryable }) => Effect.fail(new Down({ retry: isRetryable })),
          LeaseLost: () => Effect.fail(new Down({ retry: true }))
        })
      ))
)
