/**
 * How to wait for a lock and how to hold it: what a call says, what the claim says, and the user's defaults, in this order
 * for each option; and what is wrong with them.
 */
import * as Config from "effect/Config"
import * as Context from "effect/Context"
import * as Duration from "effect/Duration"
import * as Effect from "effect/Effect"
import * as Layer from "effect/Layer"
import * as Option from "effect/Option"
import * as Redacted from "effect/Redacted"
import * as Schedule from "effect/Schedule"
import { InvalidOption } from "../DlmError.ts"
import { DurationText } from "../lib/DurationText.ts"
import { maxLabelBytes } from "../protocol/Protocol.ts"
import type { Mode, Terms } from "./Claim.ts"
import type { HoldSettings } from "./HeldLease.ts"
import { kindOf } from "./kindOf.ts"
import { changed } from "./Terms.ts"

/** A named identity that the server knows, for longer holds and more data. */
export interface Identity {
  readonly name: string
  readonly secret: Redacted.Redacted<string>
}

/** How to hold a lock. A call of `Lease` beats what its claim says, and that beats `Lease.Defaults`. */
export interface HoldOptions {
  /**
   * How long the server keeps the lock unless it is renewed, which it is, in time, for as long as it is held. By default
   * 30 seconds; at most 3543 without an identity.
   */
  readonly ttl?: Duration.Input | undefined
  /** By how much the lease ends before its time to live does, at most 95 % of it. By default a tenth. */
  readonly margin?: Duration.Input | undefined
  /** How long it may be held at the most, renewals included. By default for ever. */
  readonly maxHold?: Duration.Input | undefined
  /**
   * What is shown to all who ask who holds it, on a server that knows `label`: at most 256 bytes of UTF-8, and no secret.
   */
  readonly label?: string | undefined
  /** A named identity that the server knows, for longer holds and more data. */
  readonly identity?: Identity | undefined
  /**
   * Of which group its waits and holds are counted in the metrics, as `orders`: 1 to 64 of `A-Z a-z 0-9 _ . -`. Say what
   * kind of name it is, never the name: of a process 64 groups are told apart, and any further one is counted as `other`.
   */
  readonly group?: string | undefined
}

/** How to wait for a lock, and how to hold it. */
export interface AcquireOptions extends HoldOptions {
  /**
   * How long to wait for the lock. By default for ever. The answer of the
   * server may come up to two seconds after that. While there is time, an
   * error that can pass ends no wait.
   */
  readonly wait?: Duration.Input | undefined
  /**
   * On a server that has no queue, when to ask again while another holds the
   * lock. By default `defaultPoll`; waiting is over when it is.
   */
  readonly poll?: Schedule.Schedule<unknown> | undefined
}

/** When a waiting client asks again: delays grow from 20 ms to 400 ms, jittered. */
export const defaultPoll: Schedule.Schedule<unknown> = Schedule.exponential("20 millis", 1.5).pipe(
  Schedule.modifyDelay(({ duration }) => Effect.succeed(Duration.min(duration, Duration.millis(400)))),
  Schedule.jittered
)

/** No options, as the same object always: then there is nothing to look at. */
export const none: AcquireOptions = {}

/** The options of all calls around which they are provided, where neither the call nor its claim says anything else. */
export const Defaults: Context.Reference<AcquireOptions> = Context.Reference<AcquireOptions>(
  "effect-dlm/Lease/Defaults",
  { defaultValue: () => none }
)

/**
 * The defaults of a program, for what neither a call nor its claim says.
 *
 * They replace those that are provided further out, all of them: nothing is merged.
 *
 * @example
 * ```ts
 * import { Effect } from "effect"
 * import { Lease } from "effect-dlm"
 *
 * const program = Effect.log("alone").pipe(
 *   Lease.withLock("orders.csv", { wait: "5 seconds" }), // which beats the default
 *   Effect.provide(Lease.layerDefaults({ ttl: "1 minute", wait: "10 seconds" }))
 * )
 * ```
 */
export const layerDefaults = (options: AcquireOptions): Layer.Layer<never> => Layer.succeed(Defaults, options)

/** The identity to present, from Config: `DLM_IDENTITY_NAME` and `DLM_IDENTITY_SECRET`. */
export const identityConfig = Config.option(Config.NonEmptyString("DLM_IDENTITY_NAME")).pipe(
  Config.flatMap((name) =>
    Option.isNone(name)
      ? Config.succeed(undefined)
      : Config.map(Config.Redacted("DLM_IDENTITY_SECRET"), (secret): Identity => ({ name: name.value, secret }))
  )
)

/**
 * Defaults from the environment: `DLM_TTL`, `DLM_WAIT`, `DLM_MARGIN` and `DLM_MAX_HOLD`, durations such as `10s` or
 * `10 seconds`;
 * `DLM_LABEL`; `DLM_IDENTITY_NAME` with `DLM_IDENTITY_SECRET`. What is not there is no default.
 */
export const defaultsConfig: Config.Config<AcquireOptions> = Config.all({
  ttl: Config.option(Config.schema(DurationText, "DLM_TTL")),
  wait: Config.option(Config.schema(DurationText, "DLM_WAIT")),
  margin: Config.option(Config.schema(DurationText, "DLM_MARGIN")),
  maxHold: Config.option(Config.schema(DurationText, "DLM_MAX_HOLD")),
  label: Config.option(Config.NonEmptyString("DLM_LABEL")),
  identity: identityConfig
}).pipe(
  Config.map(({ identity, label, margin, maxHold, ttl, wait }) => ({
    ttl: Option.getOrUndefined(ttl),
    wait: Option.getOrUndefined(wait),
    margin: Option.getOrUndefined(margin),
    maxHold: Option.getOrUndefined(maxHold),
    label: Option.getOrUndefined(label),
    identity
  }))
)

/**
 * The defaults of a program, from its environment, by `defaultsConfig`. They replace those that are provided further out.
 *
 * @example
 * ```ts
 * import { ConfigProvider, Effect } from "effect"
 * import { Lease } from "effect-dlm"
 *
 * const program = Effect.log("alone").pipe(
 *   Lease.withLock("orders.csv"),
 *   Effect.provide(Lease.layerDefaultsConfig),
 *   // In a test. In a program the environment has it: DLM_WAIT="10 seconds"
 *   Effect.provide(ConfigProvider.layer(ConfigProvider.fromEnv({ env: { DLM_WAIT: "10 seconds" } })))
 * )
 * ```
 */
export const layerDefaultsConfig: Layer.Layer<never, Config.ConfigError> = Layer.effect(Defaults, defaultsConfig)

/** How one call waits and holds. */
export interface Settings extends HoldSettings {
  /** In milliseconds; `Infinity` for ever. */
  readonly wait: number
  readonly poll: Schedule.Schedule<unknown>
}

/** What a call has come to ask for. */
export interface Resolved<out M extends Mode = Mode> {
  readonly terms: Terms<M>
  readonly settings: Settings
}

/** The most that the margin may be of the time to live: what is left must have room for two renewals. */
const maxMargin = 0.95

type Invalid = (option: string, problem: string) => InvalidOption

const isNotANumber = (input: unknown): boolean => typeof input === "number" && Number.isNaN(input)

/** An option of time, in milliseconds. */
const millisOf = (input: Duration.Input, option: string, invalid: Invalid): number | InvalidOption => {
  const duration = isNotANumber(input) ? Option.none() : Duration.fromInput(input)
  return Option.isSome(duration)
    ? Duration.toMillis(duration.value)
    : invalid(option, `is no duration: ${shown(input)}. Write it as "10 seconds", or in milliseconds`)
}

const shown = (input: unknown): string => typeof input === "string" ? JSON.stringify(input) : String(input)

/** A time to live. */
export const ttlOf = (input: Duration.Input, invalid: Invalid): Duration.Duration | InvalidOption => {
  const ttl = millisOf(input, "ttl", invalid)
  if (ttl instanceof InvalidOption) return ttl
  if (!(ttl > 0 && ttl < Infinity)) return invalid("ttl", "must be greater than zero, and finite")
  // The same one, where there is one: very many leases may have it.
  return Duration.isDuration(input) ? input : Duration.millis(ttl)
}

const utf8 = new TextEncoder()

/** What is wrong with a label. */
export const labelProblem = (label: unknown): string | undefined => {
  if (typeof label !== "string" || !label.isWellFormed()) return "must be whole text"
  return label.length * 3 > maxLabelBytes && utf8.encode(label).length > maxLabelBytes
    ? `must have at most ${maxLabelBytes} bytes of UTF-8`
    : undefined
}

const isGroup = /^[\w.-]{1,64}$/

/** What is wrong with a group. */
export const groupProblem = (group: unknown): string | undefined =>
  typeof group === "string" && isGroup.test(group)
    ? undefined
    : "must be 1 to 64 of A-Z, a-z, 0-9, _, . and -: it names a kind of locks in metrics"

/** An identity as requests show it. */
export const shownIdentity = (identity: Identity): NonNullable<Terms["identity"]> => ({
  Name: identity.name,
  Identity: identity.secret
})

/** What is wrong with an identity. */
export const identityProblem = (identity: Partial<Identity> | null): string | undefined =>
  typeof identity?.name === "string" && identity.name !== "" && Redacted.isRedacted(identity.secret)
    ? undefined
    : "must have a name, and a secret that is Redacted"

/** What is said, or else something. Null is a value, and a wrong one. */
export const either = <A>(given: A | undefined, otherwise: A | undefined): A | undefined =>
  given === undefined ? otherwise : given

// A call beats a claim, and that beats the defaults.
const termsBy = <M extends Mode>(
  terms: Terms<M>,
  given: HoldOptions,
  defaults: HoldOptions,
  invalid: Invalid
): Terms<M> | InvalidOption => {
  const ttlInput = either(given.ttl, terms.given.ttl ? undefined : defaults.ttl)
  const ttl = ttlInput === undefined ? terms.ttl : ttlOf(ttlInput, invalid)
  if (ttl instanceof InvalidOption) return ttl
  const label = either(given.label, terms.given.label ? terms.label : either(defaults.label, terms.label))
  const labelled = label === undefined ? undefined : labelProblem(label)
  if (labelled !== undefined) return invalid("label", labelled)
  const identity = either(given.identity, terms.given.identity ? undefined : defaults.identity)
  const identified = identity === undefined ? undefined : identityProblem(identity)
  if (identified !== undefined) return invalid("identity", identified)
  return changed(terms, { ttl, label, identity: identity === undefined ? terms.identity : shownIdentity(identity) })
}

// A call beats a claim, and that beats the defaults, as above.
const groupBy = ({ given: claimed, group }: Terms, given: HoldOptions, defaults: HoldOptions): string | undefined =>
  either(given.group, claimed.group ? group : either(defaults.group, group))

/** How a lease is held, by the options that count, on these terms. */
const holdBy = ({ ttl }: Terms, options: HoldOptions, invalid: Invalid): HoldSettings | InvalidOption => {
  const ttlMillis = Duration.toMillis(ttl)
  const margin = options.margin === undefined ? ttlMillis / 10 : millisOf(options.margin, "margin", invalid)
  if (margin instanceof InvalidOption) return margin
  const maxHold = options.maxHold === undefined ? Infinity : millisOf(options.maxHold, "maxHold", invalid)
  if (maxHold instanceof InvalidOption) return maxHold
  if (!(margin >= 0 && margin <= ttlMillis * maxMargin)) {
    const problem = "must be at most 95 % of the time to live, so that a renewal is possible, and not negative"
    return invalid("margin", problem)
  }
  const { group } = options
  const grouped = group === undefined ? undefined : groupProblem(group)
  if (grouped !== undefined) return invalid("group", grouped)
  return maxHold > 0 ? { margin, maxHold, group } : invalid("maxHold", "must be greater than zero")
}

const invalidOf = (name: string): Invalid => (option, problem) => new InvalidOption({ name, option, problem })

/** How long a call for a name waits, in milliseconds; `Infinity` for ever. */
export const waitOf = (name: string, given: AcquireOptions, defaults: AcquireOptions): number | InvalidOption => {
  const invalid = invalidOf(name)
  const problem = problemOfAll(given, defaults, invalid)
  if (problem !== undefined) return problem
  const input = either(given.wait, defaults.wait)
  if (input === undefined) return Infinity
  const wait = millisOf(input, "wait", invalid)
  return typeof wait === "number" && wait < 0 ? invalid("wait", "must not be negative") : wait
}

/** What is wrong with options as a whole. */
export const optionsProblem = (given: unknown): string | undefined =>
  typeof given === "object" && given !== null ? undefined : `must be an object, and is ${kindOf(given)}`

const known = new Set([
  "ttl",
  "wait",
  "margin",
  "maxHold",
  "label",
  "identity",
  "group",
  "poll",
  "isHurried",
  "overdue"
])

// A misspelt option would be one that is not said: a wait would be for ever.
const unknownOf = (given: object): string | undefined => {
  for (const option in given) if (!known.has(option)) return option
  return undefined
}

const problemOfAll = (given: unknown, defaults: unknown, invalid: Invalid): InvalidOption | undefined => {
  const problem = optionsProblem(given)
  if (problem !== undefined) return invalid("options", problem)
  const unknown = unknownOf(given as object)
  if (unknown !== undefined) {
    return invalid(unknown, "is none of Lease: ttl, wait, margin, maxHold, label, identity, group and poll are")
  }
  const ofDefaults = optionsProblem(defaults)
  if (ofDefaults !== undefined) return invalid("Lease.Defaults", ofDefaults)
  const unknownDefault = unknownOf(defaults as object)
  return unknownDefault === undefined
    ? undefined
    : invalid("Lease.Defaults", `have ${unknownDefault}, which is no option of Lease`)
}

/** What a call asks for, or what is wrong with its options. */
export const resolve = <M extends Mode>(
  claimed: Terms<M>,
  given: AcquireOptions,
  defaults: AcquireOptions
): Resolved<M> | InvalidOption => {
  if (given === none && defaults === none) {
    const hold = { margin: Duration.toMillis(claimed.ttl) / 10, maxHold: Infinity, group: claimed.group }
    return { terms: claimed, settings: { ...hold, wait: Infinity, poll: defaultPoll } }
  }
  const invalid = invalidOf(claimed.name)
  // First: it looks at the options as a whole, too.
  const wait = waitOf(claimed.name, given, defaults)
  if (wait instanceof InvalidOption) return wait
  const terms = termsBy(claimed, given, defaults, invalid)
  if (terms instanceof InvalidOption) return terms
  const hold = holdBy(
    terms,
    {
      margin: either(given.margin, defaults.margin),
      maxHold: either(given.maxHold, defaults.maxHold),
      group: groupBy(claimed, given, defaults)
    },
    invalid
  )
  if (hold instanceof InvalidOption) return hold
  const poll = either(given.poll, either(defaults.poll, defaultPoll))
  if (!Schedule.isSchedule(poll)) return invalid("poll", "must be a Schedule")
  return { terms, settings: { ...hold, wait, poll } }
}
