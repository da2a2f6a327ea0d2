/**
 * A held lock as a scoped resource: acquired by waiting, renewed in the
 * background, lost by a local deadline, released with its scope.
 *
 * A lease trusts only what was confirmed: it is valid for the time to live
 * after the last confirmed request was *sent*, less a margin, on the local
 * monotonic clock. The server can grant the lock to another no earlier, so
 * whoever stops by then has stopped in time, whatever the network does.
 */
import * as Clock from "effect/Clock"
import * as Deferred from "effect/Deferred"
import * as Duration from "effect/Duration"
import * as Effect from "effect/Effect"
import * as Exit from "effect/Exit"
import * as Fiber from "effect/Fiber"
import { dual } from "effect/Function"
import * as Option from "effect/Option"
import * as Predicate from "effect/Predicate"
import * as Queue from "effect/Queue"
import * as Random from "effect/Random"
import * as Schedule from "effect/Schedule"
import * as Scope from "effect/Scope"
import * as Stream from "effect/Stream"
import { AcquireTimeout, LeaseLost } from "./DlmError.ts"
import { monotonicMillis, monotonicMillisUnsafe } from "./internal/time.ts"
import type { Grant, Locker, LockerError } from "./Locker.ts"

/**
 * How a lease stands.
 *
 * - `Held` the last renewal was confirmed
 * - `Suspect` a renewal failed; it is tried again until the deadline
 * - `Lost` the deadline has passed, or the server refused: what the lock protects may be in other hands
 * - `Released` its scope has closed
 */
export type State = "Held" | "Suspect" | "Lost" | "Released"

/** A held lock. */
export interface Lease {
  readonly fileName: string
  /** The owner that holds it. */
  readonly id: string
  /** Grows with each new tenure of the name; none on a server that gives no fences. */
  readonly fence: Option.Option<bigint>
  /** For how long it is still safe to rely on, if nothing more is confirmed; zero once it is lost or released. */
  readonly remaining: Effect.Effect<Duration.Duration>
  /** How it stands. */
  readonly state: Effect.Effect<State>
  /** How it stands, now and after each change, until it is released. */
  readonly changes: Stream.Stream<State>
  /** Waits for its loss, and fails with it. Race it against what the lock protects. */
  readonly lost: Effect.Effect<never, LeaseLost>
}

/** How to wait for a lock, and how to hold it. */
export interface AcquireOptions {
  /** How long to wait for the lock. By default for ever. */
  readonly wait?: Duration.Input | undefined
  /** By how much the lease ends before its time to live does. By default a tenth of it. */
  readonly margin?: Duration.Input | undefined
  /** When to ask again while another holds the lock. By default after 20 ms, growing to 500 ms, jittered. */
  readonly poll?: Schedule.Schedule<unknown> | undefined
}

/** When a waiting client asks again: delays grow from 20 ms to 500 ms, jittered. */
export const defaultPoll: Schedule.Schedule<unknown> = Schedule.exponential("20 millis", 1.5).pipe(
  Schedule.modifyDelay(({ duration }) => Effect.succeed(Duration.min(duration, Duration.millis(400)))),
  Schedule.jittered
)

const retryRenewal = Schedule.exponential("50 millis").pipe(
  Schedule.modifyDelay(({ duration }) => Effect.succeed(Duration.min(duration, Duration.seconds(1)))),
  Schedule.jittered
)

const releaseTimeout = Duration.seconds(5)

/**
 * Acquires the lock of a Locker as a scoped Lease.
 *
 * @internal
 */
export const make = (
  locker: Locker,
  options: AcquireOptions = {}
): Effect.Effect<Lease, AcquireTimeout | LockerError, Scope.Scope> =>
  Effect.uninterruptibleMask((restore) =>
    Effect.gen(function*() {
      const scope = yield* Effect.scope
      const clock = yield* Clock.Clock
      const wait = Duration.fromInputUnsafe(options.wait ?? Duration.infinity)
      const ttl = Duration.toMillis(locker.ttl)
      const margin = Duration.toMillis(options.margin ?? ttl / 10)

      const startedAt = monotonicMillisUnsafe(clock)
      const timeout = () =>
        new AcquireTimeout({
          fileName: locker.fileName,
          waited: Duration.millis(monotonicMillisUnsafe(clock) - startedAt)
        })
      const bounded = <A, E>(self: Effect.Effect<A, E>): Effect.Effect<A, E | AcquireTimeout> =>
        Duration.isFinite(wait)
          ? Effect.timeoutOrElse(self, { duration: wait, orElse: () => Effect.fail(timeout()) })
          : self

      // Two fibers of one Locker exclude one another here, before they ask the server.
      const { isHeld, semaphore, withdraw } = locker.internal
      const turn = yield* Scope.fork(scope)
      yield* restore(bounded(Scope.provide(semaphore.takeScoped(1), turn)))
      const heldBefore = isHeld()
      const grant = yield* restore(poll(locker, options.poll ?? defaultPoll, wait, startedAt, timeout)).pipe(
        Effect.onError(() => isHeld() && !heldBefore ? withdraw : Effect.void),
        Effect.onError(() => Scope.close(turn, Exit.void))
      )
      return yield* hold(locker, grant, { scope, clock, ttl, margin })
    })
  )

const poll = (
  locker: Locker,
  schedule: Schedule.Schedule<unknown>,
  wait: Duration.Duration,
  startedAt: number,
  timeout: () => AcquireTimeout
): Effect.Effect<Grant, AcquireTimeout | LockerError> => {
  const until = startedAt + Duration.toMillis(wait)
  return Effect.gen(function*() {
    const step = yield* Schedule.toStepWithSleep(schedule)
    while (true) {
      const grant = yield* locker.tryLock
      if (Option.isSome(grant)) return grant.value
      const left = until - (yield* monotonicMillis)
      if (left <= 0) return yield* timeout()
      yield* step(undefined).pipe(
        Effect.timeoutOption(Duration.millis(left)),
        // A schedule that has run out says that waiting is over.
        Effect.catchCause(() => Effect.fail(timeout()))
      )
    }
  })
}

const hold = Effect.fnUntraced(function*(locker: Locker, first: Grant, { scope, clock, ttl, margin }: {
  readonly scope: Scope.Scope
  readonly clock: Clock.Clock
  readonly ttl: number
  readonly margin: number
}) {
  const { fileName } = locker
  const loss = Deferred.makeUnsafe<never, LeaseLost>()
  let state: State = "Held"
  let deadline = first.sentAt + ttl - margin
  let observers: Set<Queue.Queue<State>> | undefined

  const now = () => monotonicMillisUnsafe(clock)
  const become = (next: State) => {
    if (state === next) return
    state = next
    observers?.forEach((observer) => Queue.offerUnsafe(observer, next))
  }
  const lose = (reason: LeaseLost["reason"], cause?: unknown) =>
    Effect.sync(() => {
      become("Lost")
      Deferred.doneUnsafe(
        loss,
        Effect.fail(new LeaseLost({ fileName, reason, ...(cause === undefined ? {} : { cause }) }))
      )
    })

  // One try to renew. It is never cut off by a release: a request for the lock
  // that is still on its way must not overtake the unlock.
  const renewOnce = Effect.uninterruptible(Effect.suspend(() =>
    locker.internal.attempt.pipe(
      Effect.timeoutOption(Duration.millis(Math.min(ttl / 6, Math.max(0, deadline - now())))),
      Effect.tap((grant) => {
        // An answer that comes after the deadline is too late: the lease was given up.
        if (Option.isNone(grant) || now() >= deadline) return Effect.void
        deadline = grant.value.sentAt + ttl - margin
        become("Held")
        return Effect.void
      })
    )
  ))

  const renewals = Effect.gen(function*() {
    const jitter = yield* Random.nextBetween(0.8, 1.2)
    yield* Effect.sleep(Duration.millis(Math.min(ttl / 3 * jitter, Math.max(0, deadline - now()))))
    const renewing = deadline
    const retry = yield* Schedule.toStepWithSleep(retryRenewal)
    let cause: unknown
    while (now() < deadline) {
      const outcome = yield* Effect.result(renewOnce)
      if (deadline !== renewing) return
      if (Predicate.isTagged(outcome, "Failure")) {
        cause = outcome.failure
        if (outcome.failure._tag === "NotOwner") return yield* lose("Refused", cause)
      }
      if (now() >= deadline) break
      become("Suspect")
      yield* Effect.timeoutOption(retry(undefined), Duration.millis(deadline - now()))
    }
    return yield* lose("Expired", cause)
  }).pipe(Effect.repeat({ until: () => state === "Lost" }))

  const renewal = yield* Effect.forkIn(renewals, scope)

  yield* Scope.addFinalizer(
    scope,
    Effect.gen(function*() {
      yield* Fiber.interrupt(renewal)
      // After a loss nothing is given back: it may be another's by now.
      if (state !== "Lost") {
        yield* locker.unlock.pipe(
          Effect.timeout(releaseTimeout),
          Effect.catchCause((cause) =>
            Effect.logWarning(`The lock on ${JSON.stringify(fileName)} could not be released; it ends by itself`, cause)
          )
        )
      }
      become("Released")
      observers?.forEach((observer) => Queue.endUnsafe(observer as never))
    })
  )

  const lease: Lease = {
    fileName,
    id: first.id,
    fence: first.fence,
    remaining: Effect.sync(() =>
      Duration.millis(state === "Held" || state === "Suspect" ? Math.max(0, deadline - now()) : 0)
    ),
    state: Effect.sync(() => state),
    changes: Stream.unwrap(Effect.gen(function*() {
      const queue = yield* Queue.unbounded<State>()
      Queue.offerUnsafe(queue, state)
      if (state === "Released") return Stream.fromIterable([state])
      observers ??= new Set()
      observers.add(queue)
      yield* Effect.addFinalizer(() => Effect.sync(() => observers?.delete(queue)))
      return Stream.fromQueue(queue).pipe(Stream.takeUntil((state) => state === "Released"))
    })),
    lost: Deferred.await(loss)
  }
  return lease
})

/**
 * Runs an Effect while the lock is held, and gives the lock back whatever
 * comes of it.
 *
 * It waits for the lock, renews it in the background, and interrupts the
 * Effect when the lock is lost, in time: before the server can grant it to
 * another. The Effect keeps its own environment and Scope, and its outcome is
 * that of the whole; a release that fails is logged.
 *
 * It fails with `AcquireTimeout` where the lock was not free in time, with
 * `LeaseLost`, and with what a request can fail with.
 *
 * @example
 * ```ts
 * import { Effect } from "effect"
 * import { Lease, Locker } from "effect-dlm"
 *
 * const program = Effect.gen(function*() {
 *   const orders = yield* Locker.make("orders.csv")
 *   yield* Effect.log("alone with the file").pipe(
 *     Lease.withLock(orders, { wait: "10 seconds" })
 *   )
 * })
 * ```
 */
export const withLock: {
  (
    locker: Locker,
    options?: AcquireOptions
  ): <A, E, R>(self: Effect.Effect<A, E, R>) => Effect.Effect<A, E | AcquireTimeout | LeaseLost | LockerError, R>
  <A, E, R>(
    self: Effect.Effect<A, E, R>,
    locker: Locker,
    options?: AcquireOptions
  ): Effect.Effect<A, E | AcquireTimeout | LeaseLost | LockerError, R>
} = dual(
  (args) => Effect.isEffect(args[0]),
  <A, E, R>(
    self: Effect.Effect<A, E, R>,
    locker: Locker,
    options?: AcquireOptions
  ): Effect.Effect<A, E | AcquireTimeout | LeaseLost | LockerError, R> =>
    Effect.scopedWith((scope) =>
      Effect.flatMap(
        Scope.provide(make(locker, options), scope),
        (lease) => Effect.raceFirst(self, lease.lost)
      )
    )
)
