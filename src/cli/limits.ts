/**
 * The limits of `dlm serve`: each has a flag, and a variable of the same name.
 */
import * as Flag from "effect/cli/Flag"
import * as Config from "effect/Config"
import * as Duration from "effect/Duration"
import * as Option from "effect/Option"
import * as Schema from "effect/Schema"
import { DurationText } from "../lib/DurationText.ts"
import * as Limits from "../server/Limits.ts"
import { defaultMaxStoredBytes } from "../store/MemoryStore.ts"

/** One limit, for those who run a server. */
export interface Row {
  readonly flag: string
  readonly variable: string
  readonly bounds: string
}

const bounds: { readonly [Name in keyof Limits.Limits]: string } = {
  maxTtl: "The longest time to live without an identity",
  maxNameBytes: "The longest name, in bytes",
  maxOwnerBytes: "The longest owner (ID), in bytes",
  maxDataCharacters: "The longest data without an identity, in characters",
  minIdentityCharacters: "The shortest secret of an identity, in characters",
  maxJsonDepth: "How deep unknown fields of a request may nest",
  maxAnonymousLineBytes: "The longest request without an identity, in bytes on the wire",
  maxLineBytes: "The longest request with an identity, in bytes on the wire",
  maxInFlightBytes: "Bytes of requests and of answers not taken, of all connections together",
  maxConnections: "Connections at a time",
  maxConnectionsPerAddress: "Connections at a time of one address (IPv6: of one /64)",
  maxLingering: "Connections that are read on after a request that was too long",
  maxRunning: "Requests of one connection that are worked on, and as many that wait",
  maxWaiting: "Requests that wait for a lock, of all connections together",
  maxWaitingPerAddress: "Requests of one address that wait for a lock (IPv6: of one /64)",
  maxUnsentBytes: "Bytes of answers that one connection may leave untaken before it is not read any more",
  requestTimeout: "By when a request must have arrived whole, or a handshake be done",
  writeTimeout: "By when an answer must have been taken",
  maxWaitingSilence: "How long a client that waits for a lock may be silent",
  maxIdle: "How long any other client may be silent"
}

const spelled = (name: string, between: string): string =>
  name.replace(/[A-Z]/g, (letter) => between + letter.toLowerCase())

const names = Object.keys(bounds) as ReadonlyArray<keyof Limits.Limits>

/** What is set of a limit, by its name. */
export const rows = Object.fromEntries(
  names.map((name) => [name, {
    flag: `--${spelled(name, "-")}`,
    variable: `DLM_${spelled(name, "_").toUpperCase()}`,
    bounds: bounds[name]
  }])
) as { readonly [Name in keyof Limits.Limits]: Row }

const Positive = Schema.Int.check(Schema.isGreaterThanOrEqualTo(1))
const PositiveText = Schema.NumberFromString.pipe(Schema.decodeTo(Positive))
const Some = DurationText.check(
  Schema.makeFilter((duration) =>
    (Duration.isFinite(duration) && Duration.toMillis(duration) > 0) || "Expected more than no time, and an end of it"
  )
)

/** A limit as it is shown. */
export const shown = (value: number | Duration.Duration): string =>
  typeof value === "number" ? String(value) : `${Duration.toSeconds(value)}s`

const flagOf = (name: keyof Limits.Limits): Flag.Flag<Option.Option<number | Duration.Duration>> => {
  const { flag, variable } = rows[name]
  const usual = Limits.defaults[name]
  const described = Flag.withDescription<number | Duration.Duration>(
    `${bounds[name]} (${variable}; ${shown(usual)})`
  )
  const bare = flag.slice(2)
  return typeof usual === "number"
    ? Flag.Int(bare).pipe(
      Flag.withSchema(Positive),
      described,
      Flag.withFallbackConfig(Config.schema(PositiveText, variable)),
      Flag.optional
    )
    : Flag.String(bare).pipe(
      Flag.withSchema(Some),
      described,
      Flag.withFallbackConfig(Config.schema(Some, variable)),
      Flag.optional
    )
}

/** What the store in memory may take, which is its own limit. */
export const storedRow: Row = {
  flag: "--max-stored-bytes",
  variable: "DLM_MAX_STORED_BYTES",
  bounds: "What the store in memory may take, in bytes"
}

/** The flag of `storedRow`. */
export const maxStoredBytes = Flag.Int("max-stored-bytes").pipe(
  Flag.withSchema(Positive),
  Flag.withDescription(`${storedRow.bounds} (${storedRow.variable}; ${defaultMaxStoredBytes})`),
  Flag.withFallbackConfig(Config.schema(PositiveText, storedRow.variable)),
  Flag.optional
)

/** A flag for each limit. */
export const flags = Object.fromEntries(names.map((name) => [name, flagOf(name)])) as {
  readonly [Name in keyof Limits.Limits]: Flag.Flag<Option.Option<Limits.Limits[Name]>>
}

/** The limits that flags and variables set, over the usual ones. */
export const fromFlags = (
  given: { readonly [Name in keyof Limits.Limits]: Option.Option<Limits.Limits[Name]> }
): Limits.Limits => ({
  ...Limits.defaults,
  ...Object.fromEntries(names.flatMap((name) => {
    const value = given[name]
    return Option.isSome<number | Duration.Duration>(value) ? [[name, value.value]] : []
  }))
})
