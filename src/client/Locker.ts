/**
 * One owner of one name: the requests of the protocol as Effects, with every
 * status a value or a tagged error.
 */
import type * as Cause from "effect/Cause"
import * as SecureRandom from "effect/crypto/SecureRandom"
import * as Duration from "effect/Duration"
import * as Effect from "effect/Effect"
import * as Base64Url from "effect/encoding/Base64Url"
import * as Exit from "effect/Exit"
import * as Option from "effect/Option"
import type * as Redacted from "effect/Redacted"
import * as Result from "effect/Result"
import * as Schedule from "effect/Schedule"
import type * as Scope from "effect/Scope"
import * as Semaphore from "effect/Semaphore"
import {
  type AcquireTimeout,
  Corruption,
  DataError,
  ForeignOwner,
  InvalidOption,
  NoData,
  NotFound,
  NotOwner,
  ProtocolError,
  Refused,
  type RequestError,
  ServerBusy,
  UnsupportedAction
} from "../DlmError.ts"
import { monotonicMillis } from "../lib/monotonic.ts"
import { withSpan } from "../lib/tracing.ts"
import type { Action, Request, Response } from "../protocol/Protocol.ts"
import { decodeUtf8 } from "../protocol/Wire.ts"
import { Talker } from "../transport/Talker.ts"
import * as DataCodec from "./DataCodec.ts"
import * as Lease from "./Lease.ts"

/** Who holds a name, as far as its Locker is concerned. */
export type Holder = "Nobody" | "Me" | "Another"

/** A lock that the server has granted. */
export interface Grant {
  /** The owner that it was granted to. */
  readonly id: string
  /** Grows with each new tenure of the name. None on a server that gives no fences, such as the reference. */
  readonly fence: Option.Option<bigint>
  /** When the request for it left, in milliseconds of the monotonic clock: its time to live counts from no earlier. */
  readonly sentAt: number
}

/** What any request can fail with, a mixed-up answer included. */
export type LockerError = RequestError | ForeignOwner

/**
 * One owner of one name.
 *
 * Each of its Effects asks the server once, and again by the retry schedule
 * while that makes sense. Without an `id` of the caller's, each tenure has an
 * owner of its own, so a late duplicate of a request cannot touch the next.
 */
export interface Locker {
  readonly name: string
  /** How long a lock or datum lives, from each request that makes or renews it. */
  readonly ttl: Duration.Duration
  /** The present owner. Whoever knows it is the owner. */
  readonly id: Effect.Effect<string>
  /**
   * Takes the lock, or renews it, without waiting: `NotOwner` where another
   * holds it. Interrupting it leaves nothing held that was not held before.
   */
  readonly lock: Effect.Effect<Grant, NotOwner | LockerError>
  /** As `lock`, with none where another holds it. */
  readonly tryLock: Effect.Effect<Option.Option<Grant>, LockerError>
  /**
   * Gives the lock and its data back. True where this did it, false where
   * nothing was held any more (it had expired, or an earlier try did it).
   */
  readonly unlock: Effect.Effect<boolean, NotOwner | LockerError>
  /** Who holds the name. Never acquires. */
  readonly holder: Effect.Effect<Holder, LockerError>
  /** Whether anybody holds the name, this Locker included. Never acquires. */
  readonly isLocked: Effect.Effect<boolean, LockerError>
  /** Keeps text under the name, for the time to live; onto one's own lock it attaches it, and renews. */
  readonly put: (text: string) => Effect.Effect<void, NotOwner | DataError | LockerError>
  /** The text kept under the name. Only its owner can read it. */
  readonly get: Effect.Effect<string, NotFound | NoData | NotOwner | Corruption | DataError | LockerError>
  /**
   * Drops the name, its data and its lock: under a lease it takes the lock away from under it.
   * `Corruption` where it was a lock without data.
   */
  readonly erase: Effect.Effect<void, NotFound | NotOwner | Corruption | LockerError>
  /** The name and version of the server. */
  readonly version: Effect.Effect<string, LockerError>
  /** Whether a JackrabbitDLM server answers. */
  readonly isDlm: Effect.Effect<boolean, Exclude<LockerError, ProtocolError>>
  /**
   * Waits for the lock, and holds it, renewed, until the scope closes.
   *
   * @see {@link Lease.withLock} for holding it around one Effect
   */
  readonly acquire: (
    options?: Lease.AcquireOptions
  ) => Effect.Effect<Lease.Lease, Lease.AcquireError, Scope.Scope>
  /** @internal */
  readonly internal: {
    /** One request for the lock, which may queue for so many milliseconds; without retries. */
    readonly attempt: (wait?: number) => Effect.Effect<Grant, NotOwner | LockerError>
    /** Takes a fresh owner for whatever comes next. */
    readonly endTenure: Effect.Effect<void>
    /** Asks again by the retry schedule, while that makes sense. */
    readonly retrying: <A, E extends { readonly retryable: boolean }>(self: Effect.Effect<A, E>) => Effect.Effect<A, E>
    /** Gives back what may have been granted, and any claim to it, where the outcome is not known. */
    readonly guard: <A, E extends NotOwner | AcquireTimeout | LockerError>(
      self: Effect.Effect<A, E>
    ) => Effect.Effect<A, E>
    /** Gives back what may have been granted, or claimed; bounded in time, and never fails. */
    readonly withdraw: Effect.Effect<void>
    /** Held by the fiber that has this Locker's lease. */
    readonly semaphore: Semaphore.Semaphore
  }
}

/** How a Locker behaves. */
export interface Options {
  /** The owner. By default 128 random bits, with a number for each tenure. */
  readonly id?: string | undefined
  /** How long a lock or datum lives. By default 30 seconds; at most 3543 without an identity. */
  readonly ttl?: Duration.Input | undefined
  /** A named identity that the server knows, for longer holds and more data. */
  readonly identity?: { readonly name: string; readonly secret: Redacted.Redacted<string> } | undefined
  /** When to ask again after an error that can pass. By default `defaultRetry`. */
  readonly retry?: Schedule.Schedule<unknown, LockerError> | undefined
  /** How data becomes text. By default `DataCodec.wire`, which other clients understand. */
  readonly codec?: DataCodec.DataCodec | undefined
}

/**
 * Asks again 7 times, after delays that double from 50 ms, jittered, up to 1 s.
 */
export const defaultRetry: Schedule.Schedule<unknown> = Schedule.exponential("50 millis").pipe(
  Schedule.jittered,
  Schedule.modifyDelay(({ duration }) => Effect.succeed(Duration.min(duration, Duration.seconds(1)))),
  Schedule.upTo({ times: 7 })
)

const idBytes = 16
const withdrawTimeout = Duration.seconds(5)
const utf8 = new TextEncoder()

const freshId = Effect.map(
  SecureRandom.SecureRandom.use((random) => random.randomBytes(idBytes)),
  Base64Url.encode
).pipe(Effect.provide(SecureRandom.layerWebCrypto))

// Without an answer that can be used, nobody knows whether it was done.
const isInDoubt = ({ reasons }: Cause.Cause<{ readonly _tag: string }>): boolean =>
  reasons.some((reason) =>
    reason._tag !== "Fail" || reason.error._tag === "TransportError" || reason.error._tag === "ProtocolError" ||
    reason.error._tag === "ForeignOwner" || reason.error._tag === "ServerBusy"
  )

const mayHaveBeenGranted = (exit: Exit.Exit<unknown, NotOwner | AcquireTimeout | LockerError>): boolean =>
  Exit.isFailure(exit) && isInDoubt(exit.cause)

/** What the Lockers of one call of `make` have in common. */
interface Settings {
  readonly talk: Talker["Service"]["talk"]
  readonly codec: DataCodec.DataCodec
  readonly ttl: Duration.Duration
  readonly ttlSeconds: number
  readonly identity: Pick<Request, "Name" | "Identity">
  readonly schedule: Schedule.Schedule<unknown>
  readonly fixedId: boolean
}

// A class, and its Effects made when they are asked for, so that a process can have very many of them.
class OneOwner implements Locker {
  readonly name: string
  private readonly settings: Settings
  private readonly owner: string
  private current: string
  private tenures = 0
  // Until when, by the monotonic clock, the name is ours as far as we heard; 0 where it is not.
  private heldUntil = 0
  // Whether a release may still be on its way: it must find nothing that is asked for after it.
  private releasing = false
  private turn: Semaphore.Semaphore | undefined

  constructor(name: string, owner: string, settings: Settings) {
    this.name = name
    this.owner = owner
    this.current = owner
    this.settings = settings
  }

  get internal(): Locker["internal"] {
    return this
  }

  get ttl() {
    return this.settings.ttl
  }

  get id() {
    return Effect.sync(() => this.current)
  }

  get semaphore() {
    return this.turn ??= Semaphore.makeUnsafe(1)
  }

  // What was asked in a tenure that is over, and is still on its way, must not touch the next.
  get endTenure() {
    return Effect.sync(() => this.nextTenure())
  }

  private nextTenure(): void {
    this.heldUntil = 0
    this.releasing = false
    // mutant: owner-of-tenure
    if (!this.settings.fixedId) this.current = `${this.owner}.${++this.tenures}`
  }

  // Until it is asked for the lock again, the release can be tried again by the same owner. One that was refused may come
  // once more, too, as a late duplicate.
  private release<A, E>(self: Effect.Effect<A, E>): Effect.Effect<A, E> {
    return Effect.onError(self, () =>
      Effect.sync(() => {
        this.releasing = true
      }))
  }

  private request(action: Action, data?: string): Request {
    if (this.releasing && (action === "Lock" || action === "Put")) this.nextTenure()
    const { identity, ttlSeconds } = this.settings
    const request = { ...identity, ID: this.current, FileName: this.name, Action: action, Expire: ttlSeconds }
    return data === undefined ? request : { ...request, DataStore: data }
  }

  // One request, its answer made a value or a typed error. `meaning` knows the
  // answers that are the action's own; the others mean the same for each.
  private once<A, E>(
    request: Request,
    meaning: (response: Response) => Effect.Effect<A, E> | undefined
  ): Effect.Effect<A, E | LockerError> {
    return Effect.flatMap(this.settings.talk(request), (response): Effect.Effect<A, E | LockerError> => {
      const about = { name: this.name, action: request.Action }
      // mutant: own-grant-only
      if (
        "ID" in response && response.Status !== "Version" && response.ID !== undefined && response.ID !== request.ID
      ) {
        return Effect.fail(new ForeignOwner(about))
      }
      const meant = meaning(response)
      if (meant !== undefined) return meant
      switch (response.Status) {
        case "BadPayload":
          return Effect.fail(new Refused(about))
        case "BadAction":
          return Effect.fail(new UnsupportedAction(about))
        case "NO":
          return Effect.fail(new ServerBusy(about))
        default:
          return Effect.fail(new ProtocolError({ ...about, received: JSON.stringify(response) }))
      }
    })
  }

  // The schedule is set up only when something went wrong.
  retrying<A, E extends { readonly retryable: boolean }>(self: Effect.Effect<A, E>): Effect.Effect<A, E> {
    return Effect.catch(self, (error) => retryAfter(self, error, this.settings.schedule))
  }

  private ask<A, E extends { readonly retryable: boolean } = never>(
    action: Action,
    meaning: (response: Response) => Effect.Effect<A, E> | undefined,
    data?: string
  ): Effect.Effect<A, E | LockerError> {
    return this.retrying(Effect.suspend(() => this.once(this.request(action, data), meaning)))
  }

  private notOwner(action: Action): Effect.Effect<never, NotOwner> {
    return Effect.andThen(
      Effect.suspend(() => this.heldUntil > 0 ? this.endTenure : Effect.void),
      Effect.fail(new NotOwner({ name: this.name, action }))
    )
  }

  attempt(wait?: number): Effect.Effect<Grant, NotOwner | LockerError> {
    return Effect.flatMap(monotonicMillis, (sentAt) => {
      // mutant: same-owner-asks-again
      const request = this.request("Lock")
      return this.once(wait === undefined ? request : { ...request, Wait: wait }, (response) => {
        if (response.Status === "NotOwner") return this.notOwner("Lock")
        if (response.Status !== "Locked") return undefined
        this.heldUntil = sentAt + this.settings.ttlSeconds * 1000
        const fence = response.Fence === undefined ? Option.none() : Option.some(BigInt(response.Fence))
        return Effect.succeed<Grant>({ id: response.ID, fence, sentAt })
      })
    })
  }

  // After a request for the lock whose outcome we do not know: gives back what the server may have granted.
  get withdraw() {
    return Effect.suspend(() => this.settings.talk(this.request("Unlock"))).pipe(
      Effect.timeoutOption(withdrawTimeout),
      Effect.ignore,
      Effect.andThen(this.endTenure)
    )
  }

  guard<A, E extends NotOwner | AcquireTimeout | LockerError>(self: Effect.Effect<A, E>): Effect.Effect<A, E> {
    return Effect.flatMap(monotonicMillis, (now) => {
      const heldBefore = now < this.heldUntil
      // mutant: give-back-in-doubt
      return Effect.onExit(self, (exit) => mayHaveBeenGranted(exit) && !heldBefore ? this.withdraw : Effect.void)
    })
  }

  private span(name: string) {
    return withSpan(name, this)
  }

  get lock() {
    return this.span("Locker.lock")(this.guard(this.retrying(this.attempt())))
  }

  get tryLock() {
    return this.lock.pipe(
      Effect.map(Option.some),
      Effect.catchTag("NotOwner", () => Effect.succeed(Option.none()))
    )
  }

  get unlock() {
    return this.ask("Unlock", (response) => {
      if (response.Status === "NotOwner") return this.notOwner("Unlock")
      return response.Status === "Unlocked" ? Effect.succeed(response.ID !== undefined) : undefined
    }).pipe(
      (asked) => this.release(asked),
      Effect.tap(this.endTenure),
      this.span("Locker.unlock")
    )
  }

  get holder() {
    return this.ask("TestLock", (response) => {
      switch (response.Status) {
        case "Locked":
          return Effect.succeed<Holder>("Me")
        case "Unlocked":
          return Effect.succeed<Holder>("Nobody")
        case "NotOwner":
          return Effect.succeed<Holder>("Another")
        default:
          return undefined
      }
    }).pipe(this.span("Locker.holder"))
  }

  get isLocked() {
    return Effect.map(this.holder, (holder) => holder !== "Nobody")
  }

  get put() {
    return (text: string) =>
      this.settings.codec.encode(utf8.encode(text), this.name).pipe(
        Effect.flatMap((data) =>
          Effect.flatMap(monotonicMillis, (sentAt) =>
            this.ask<void, NotOwner>("Put", (response) => {
              if (response.Status === "NotOwner") return this.notOwner("Put")
              if (response.Status !== "Done") return undefined
              this.heldUntil = sentAt + this.settings.ttlSeconds * 1000
              return Effect.void
            }, data))
        ),
        this.span("Locker.put")
      )
  }

  get get() {
    const { name, settings: { codec } } = this
    const about = { name, action: "Get" } as const
    return this.ask<string, NoData | NotFound | NotOwner | Corruption>("Get", (response) => {
      switch (response.Status) {
        case "Done":
          return response.DataStore === undefined ? undefined : Effect.succeed(response.DataStore)
        case "NoData":
          return Effect.fail(new NoData(about))
        case "NotFound":
          return Effect.fail(new NotFound(about))
        case "NotOwner":
          return this.notOwner("Get")
        case "Corruption":
          return Effect.fail(new Corruption(about))
        default:
          return undefined
      }
    }).pipe(
      Effect.flatMap((data) => codec.decode(data, name)),
      Effect.flatMap((bytes) =>
        Effect.fromResult(
          Result.mapError(decodeUtf8(bytes), (cause) =>
            new DataError({ name, codec: codec.name, phase: "decode", problem: "it is not UTF-8 text", cause }))
        )
      ),
      this.span("Locker.get")
    )
  }

  get erase() {
    const about = { name: this.name, action: "Erase" } as const
    return Effect.suspend(() => {
      // Where an earlier try may have erased it, its absence is what was asked for.
      let tries = 0
      return this.retrying(Effect.suspend(() => {
        tries++
        return this.once<void, NotFound | NotOwner | Corruption>(this.request("Erase"), (response) => {
          switch (response.Status) {
            case "Done":
              return this.endTenure
            case "NotFound":
              return tries > 1 ? this.endTenure : Effect.fail(new NotFound(about))
            case "NotOwner":
              return this.notOwner("Erase")
            case "Corruption":
              return Effect.andThen(this.endTenure, Effect.fail(new Corruption(about)))
            default:
              return undefined
          }
        })
      }))
    }).pipe((asked) => this.release(asked), this.span("Locker.erase"))
  }

  get version() {
    return this.ask(
      "Version",
      (response) => response.Status === "Version" ? Effect.succeed(response.ID) : undefined
    ).pipe(this.span("Locker.version"))
  }

  get isDlm() {
    return this.version.pipe(
      Effect.map((server) => server.includes("JackrabbitDLM")),
      Effect.catchTag("ProtocolError", () => Effect.succeed(false))
    )
  }

  get acquire() {
    return (options?: Lease.AcquireOptions) => Lease.make(this, options)
  }
}

const retryAfter = Effect.fnUntraced(function*<A, E extends { readonly retryable: boolean }>(
  self: Effect.Effect<A, E>,
  error: E,
  schedule: Schedule.Schedule<unknown>
) {
  const next = yield* Schedule.toStepWithSleep(schedule)
  while (error.retryable && (yield* Effect.isSuccess(next(error)))) {
    const result = yield* Effect.result(self)
    if (Result.isSuccess(result)) return result.success
    error = result.failure
  }
  return yield* Effect.fail(error)
})

/**
 * Makes a Locker for a name.
 *
 * @example
 * ```ts
 * import { Effect } from "effect"
 * import { Locker } from "effect-dlm"
 *
 * const program = Effect.gen(function*() {
 *   const orders = yield* Locker.make("orders.csv", { ttl: "10 seconds" })
 *   yield* orders.lock
 *   // … work on the file …
 *   yield* orders.unlock
 * })
 * ```
 */
export const make = Effect.fnUntraced(function*(name: string, options: Options = {}) {
  const { talk } = yield* Talker
  const ttl = Duration.fromInputUnsafe(options.ttl ?? "30 seconds")
  const ttlSeconds = Duration.toSeconds(ttl)
  if (!(ttlSeconds > 0 && Number.isFinite(ttlSeconds))) {
    return yield* new InvalidOption({ name, option: "ttl", problem: "must be greater than zero, and finite" })
  }
  const { identity } = options
  const locker: Locker = new OneOwner(name, options.id ?? (yield* freshId), {
    talk,
    ttl,
    ttlSeconds,
    codec: options.codec ?? DataCodec.wire,
    identity: identity === undefined ? {} : { Name: identity.name, Identity: identity.secret },
    schedule: (options.retry ?? defaultRetry) as Schedule.Schedule<unknown>,
    fixedId: options.id !== undefined
  })
  return locker
})

/**
 * Takes up a lease that another process, or another part of this one, has
 * detached: the same owner goes on with the same tenure.
 *
 * Fails with `LeaseLost` where it is no longer held. On a server that gives no
 * fences, a lock that was lost and is free can't always be told from it.
 *
 * @example
 * ```ts
 * import { Effect } from "effect"
 * import { Lease, Locker } from "effect-dlm"
 *
 * const goOn = (token: Lease.Token) =>
 *   Effect.gen(function*() {
 *     const lease = yield* Locker.resume(token, { ttl: "30 seconds" })
 *     yield* Effect.log(`still held, for ${yield* lease.remaining}`)
 *   }).pipe(Effect.scoped)
 * ```
 */
export const resume = Effect.fnUntraced(function*(
  token: Lease.Token,
  options: Omit<Options, "id"> & Lease.HoldOptions = {}
) {
  const locker = yield* make(token.name, { ...options, id: token.id })
  return yield* Lease.resume(locker, token, options)
})
