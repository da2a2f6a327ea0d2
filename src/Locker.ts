/**
 * One owner of one name: the requests of the protocol as Effects, with every
 * status a value or a tagged error.
 */
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
import * as DataCodec from "./DataCodec.ts"
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
} from "./DlmError.ts"
import { monotonicMillis } from "./internal/time.ts"
import * as Lease from "./Lease.ts"
import type { Action, Request, Response } from "./Protocol.ts"
import { Talker } from "./Talker.ts"
import { decodeUtf8 } from "./Wire.ts"

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
 * while that makes sense. Without an `id` of the caller's, each tenure has a
 * fresh random owner, so a late duplicate of a request cannot touch the next.
 */
export interface Locker {
  readonly fileName: string
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
  /** Drops the name, its data and its lock. `Corruption` where it was a lock without data. */
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
  ) => Effect.Effect<Lease.Lease, AcquireTimeout | LockerError, Scope.Scope>
  /** @internal */
  readonly internal: {
    /** One request for the lock, without retries. */
    readonly attempt: Effect.Effect<Grant, NotOwner | LockerError>
    /** Gives back what may have been granted; bounded, and never fails. */
    readonly withdraw: Effect.Effect<void>
    /** Whether the last that was heard is that the lock is ours. */
    readonly isHeld: () => boolean
    /** Held by the fiber that has this Locker's lease. */
    readonly semaphore: Semaphore.Semaphore
  }
}

/** How a Locker behaves. */
export interface Options {
  /** The owner. By default 128 random bits, fresh for each tenure. */
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

// An answer that we did not get, or could not use, may have been a grant.
const mayHaveBeenGranted = (exit: Exit.Exit<unknown, NotOwner | LockerError>): boolean =>
  Exit.isFailure(exit) &&
  exit.cause.reasons.some((reason) =>
    reason._tag !== "Fail" || reason.error._tag === "TransportError" || reason.error._tag === "ProtocolError" ||
    reason.error._tag === "ForeignOwner"
  )

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
export const make = Effect.fnUntraced(function*(fileName: string, options: Options = {}) {
  const { talk } = yield* Talker
  const codec = options.codec ?? DataCodec.wire
  const ttl = Duration.fromInputUnsafe(options.ttl ?? "30 seconds")
  const ttlSeconds = Duration.toSeconds(ttl)
  if (!(ttlSeconds > 0 && Number.isFinite(ttlSeconds))) {
    return yield* new InvalidOption({ fileName, option: "ttl", problem: "must be greater than zero, and finite" })
  }
  const identity = options.identity === undefined
    ? {}
    : { Name: options.identity.name, Identity: options.identity.secret }

  let id = options.id ?? (yield* freshId)
  // Whether the last that we heard is that the lock is ours.
  let held = false

  const request = (action: Action, data?: string): Request => ({
    ...identity,
    ID: id,
    FileName: fileName,
    Action: action,
    Expire: ttlSeconds,
    ...(data === undefined ? {} : { DataStore: data })
  })

  // One request, its answer made a value or a typed error. `meaning` knows the
  // answers that are the action's own; the others mean the same for each.
  const once = <A, E>(
    request: Request,
    meaning: (response: Response) => Effect.Effect<A, E> | undefined
  ): Effect.Effect<A, E | LockerError> => {
    const about = { fileName, action: request.Action }
    return Effect.flatMap(talk(request), (response): Effect.Effect<A, E | LockerError> => {
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

  const schedule = (options.retry ?? defaultRetry) as Schedule.Schedule<unknown>
  const retrying = <A, E extends { readonly retryable: boolean }>(self: Effect.Effect<A, E>): Effect.Effect<A, E> =>
    Effect.retry(self, { schedule, while: (error: E) => error.retryable })

  const ask = <A, E extends { readonly retryable: boolean } = never>(
    action: Action,
    meaning: (response: Response) => Effect.Effect<A, E> | undefined,
    data?: string
  ): Effect.Effect<A, E | LockerError> => retrying(Effect.suspend(() => once(request(action, data), meaning)))

  const notOwner = (action: Action) =>
    Effect.suspend(() => {
      held = false
      return Effect.fail(new NotOwner({ fileName, action }))
    })

  const attempt = Effect.flatMap(monotonicMillis, (sentAt) =>
    once(request("Lock"), (response) => {
      if (response.Status === "NotOwner") return notOwner("Lock")
      if (response.Status !== "Locked") return undefined
      held = true
      return Effect.succeed<Grant>({ id: response.ID, fence: Option.none(), sentAt })
    }))

  // After a request for the lock whose outcome we do not know: gives back what the server may have granted.
  const withdraw = Effect.suspend(() => {
    held = false
    return talk(request("Unlock"))
  }).pipe(
    Effect.timeoutOption(withdrawTimeout),
    Effect.ignore
  )

  const lock = Effect.suspend(() => {
    const heldBefore = held
    return Effect.onExit(retrying(attempt), (exit) => mayHaveBeenGranted(exit) && !heldBefore ? withdraw : Effect.void)
  }).pipe(Effect.withSpan("Locker.lock", { attributes: { fileName } }))

  const unlock = ask("Unlock", (response) => {
    if (response.Status === "NotOwner") return notOwner("Unlock")
    return response.Status === "Unlocked" ? Effect.succeed(response.ID !== undefined) : undefined
  }).pipe(
    Effect.tap(Effect.suspend(() => {
      held = false
      return options.id === undefined ? Effect.map(freshId, (fresh) => void (id = fresh)) : Effect.void
    })),
    Effect.withSpan("Locker.unlock", { attributes: { fileName } })
  )

  const holder = ask("TestLock", (response) => {
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
  }).pipe(Effect.withSpan("Locker.holder", { attributes: { fileName } }))

  const put = Effect.fn("Locker.put", { attributes: { fileName } })(function*(text: string) {
    const data = yield* codec.encode(utf8.encode(text), fileName)
    yield* ask<void, NotOwner>("Put", (response) => {
      if (response.Status === "NotOwner") return notOwner("Put")
      return response.Status === "Done" ? Effect.void : undefined
    }, data)
  })

  const decodeText = (data: string) =>
    Effect.flatMap(
      codec.decode(data, fileName),
      (bytes) =>
        Effect.fromResult(Result.mapError(decodeUtf8(bytes), (cause) =>
          new DataError({ fileName, codec: codec.name, phase: "decode", problem: "it is not UTF-8 text", cause })))
    )

  const get = ask<string, NoData | NotFound | NotOwner | Corruption>("Get", (response) => {
    switch (response.Status) {
      case "Done":
        return response.DataStore === undefined ? undefined : Effect.succeed(response.DataStore)
      case "NoData":
        return Effect.fail(new NoData({ fileName, action: "Get" }))
      case "NotFound":
        return Effect.fail(new NotFound({ fileName, action: "Get" }))
      case "NotOwner":
        return notOwner("Get")
      case "Corruption":
        return Effect.fail(new Corruption({ fileName, action: "Get" }))
      default:
        return undefined
    }
  }).pipe(Effect.flatMap(decodeText), Effect.withSpan("Locker.get", { attributes: { fileName } }))

  const erase = Effect.suspend(() => {
    // Where an earlier try may have erased it, its absence is what was asked for.
    let tries = 0
    return retrying(Effect.suspend(() => {
      tries++
      return once<void, NotFound | NotOwner | Corruption>(request("Erase"), (response) => {
        switch (response.Status) {
          case "Done":
            return Effect.sync(() => void (held = false))
          case "NotFound":
            return tries > 1 ? Effect.void : Effect.fail(new NotFound({ fileName, action: "Erase" }))
          case "NotOwner":
            return notOwner("Erase")
          case "Corruption":
            held = false
            return Effect.fail(new Corruption({ fileName, action: "Erase" }))
          default:
            return undefined
        }
      })
    }))
  }).pipe(Effect.withSpan("Locker.erase", { attributes: { fileName } }))

  const version = ask(
    "Version",
    (response) => response.Status === "Version" ? Effect.succeed(response.ID) : undefined
  ).pipe(Effect.withSpan("Locker.version"))

  const self: Locker = {
    fileName,
    ttl,
    id: Effect.sync(() => id),
    lock,
    tryLock: lock.pipe(
      Effect.map(Option.some),
      Effect.catchTag("NotOwner", () => Effect.succeed(Option.none()))
    ),
    unlock,
    holder,
    isLocked: Effect.map(holder, (holder) => holder !== "Nobody"),
    put,
    get,
    erase,
    version,
    isDlm: version.pipe(
      Effect.map((server) => server.includes("JackrabbitDLM")),
      Effect.catchTag("ProtocolError", () => Effect.succeed(false))
    ),
    acquire: (acquireOptions) => Lease.make(self, acquireOptions),
    internal: { attempt, withdraw, isHeld: () => held, semaphore: Semaphore.makeUnsafe(1) }
  }
  return self
})
