/**
 * `--store`: where `dlm serve` keeps its entries.
 *
 * A store's module is loaded only when it is asked for, since its driver need
 * not be installed.
 */
import * as Flag from "effect/cli/Flag"
import * as Config from "effect/Config"
import * as Duration from "effect/Duration"
import * as Effect from "effect/Effect"
import * as Layer from "effect/Layer"
import * as Option from "effect/Option"
import * as Redacted from "effect/Redacted"
import * as Store from "../store/Store.ts"
import type { StoreError, StoreUrlError } from "../StoreError.ts"
import { Failed, status } from "./Status.ts"

/** What the flags say of the store in memory alone. */
export interface MemoryFlags {
  readonly restartGrace: Option.Option<Duration.Duration>
  readonly maxStoredBytes: Option.Option<number>
}

interface Kind {
  /** How what one writes begins. */
  readonly schemes: ReadonlyArray<string>
  readonly example: string
  /** The package that it needs beside ours, if any. */
  readonly driver?: string
  /** The store at the URL, or its refusal of the URL. */
  readonly load: (
    url: Redacted.Redacted,
    memory: MemoryFlags
  ) => Promise<Layer.Layer<Store.Store, StoreError | StoreUrlError | Config.ConfigError>>
}

const kinds: ReadonlyArray<Kind> = [
  {
    schemes: ["memory"],
    example: "memory",
    load: async (_, { maxStoredBytes, restartGrace }) =>
      Store.layerMemoryWith({
        maxStoredBytes: Option.getOrUndefined(maxStoredBytes),
        restartGrace: Option.getOrUndefined(restartGrace)
      })
  },
  {
    schemes: ["sqlite:"],
    example: "sqlite:FILE",
    load: async (url) => (await import("../sqlite/SqliteStore.ts")).layerUrl({ url })
  },
  {
    schemes: ["redis:", "rediss:"],
    example: "redis://HOST",
    driver: "redis",
    load: async (url) => (await import("../redis/RedisStore.ts")).layerUrl({ url })
  },
  {
    schemes: ["redis+sentinel:", "rediss+sentinel:"],
    example: "redis+sentinel://HOST,HOST,HOST/MASTER",
    driver: "redis",
    load: async (url) => (await import("../redis/RedisStore.ts")).layerUrl({ url })
  },
  {
    schemes: ["postgres:", "postgresql:"],
    example: "postgres://HOST/DATABASE",
    driver: "@effect/sql-pg",
    load: async (url) =>
      (await import("../postgres/PostgresStore.ts")).layerConfig({
        url: Config.succeed(url),
        listenUrl: Config.withDefault(Config.Redacted("DLM_POSTGRES_LISTEN_URL"), undefined)
      })
  },
  {
    schemes: ["etcd:", "etcds:"],
    example: "etcd://HOST,HOST,HOST",
    load: async (url) => (await import("../etcd/NodeEtcdStore.ts")).layerUrl({ url })
  }
]

const examples = kinds.map(({ example }) => example).join(", ")

export const flag = Flag.String("store").pipe(
  Flag.withDescription(`Where entries live: ${examples} (or DLM_STORE, which keeps a password out of sight; memory)`),
  Flag.optional
)

const wrongUse = (message: string) => new Failed({ status: status.usage, error: "StoreFlag", message })

const whereOf: Record<string, string> = { url: "--store (or DLM_STORE)", listenUrl: "DLM_POSTGRES_LISTEN_URL" }

const malformed = ({ form, option }: StoreUrlError) =>
  wrongUse(`${whereOf[option] ?? option} cannot be read. Write it as ${form}`)

/** The same without a user, a password, or options. */
export const withoutSecrets = (place: string): string => {
  if (!place.includes("://") || place.startsWith("sqlite:")) return place.replace(/\?.*$/s, "")
  const scheme = place.slice(0, place.indexOf("://") + 3)
  const [rest = "", query = ""] = place.slice(scheme.length).split(/\?(.*)/s)
  // A part of a password that was written without escaping it may be on either side.
  return query.includes("@") ? `${scheme}…` : scheme + rest.slice(rest.lastIndexOf("@") + 1)
}

/** The store that the flag, or `DLM_STORE`, names, and where it is, without what nobody may see: it may hold a password. */
export const fromFlag = Effect.fnUntraced(function*(given: Option.Option<string>, memory: MemoryFlags) {
  const place = Option.isSome(given)
    ? Redacted.make(given.value)
    : yield* Config.withDefault(Config.Redacted("DLM_STORE"), Redacted.make("memory"))
  const kind = kinds.find(({ schemes }) =>
    schemes.some((scheme) =>
      scheme.endsWith(":") ? Redacted.value(place).startsWith(scheme) : Redacted.value(place) === scheme
    )
  )
  if (kind === undefined) {
    return yield* wrongUse(`--store (or DLM_STORE) names no store that is known. Give one of: ${examples}`)
  }
  if (kind.example !== "memory" && Option.exists(memory.restartGrace, (grace) => !Duration.isZero(grace))) {
    return yield* wrongUse("--restart-grace is for the memory store alone: the others forget nothing at a restart")
  }
  if (kind.example !== "memory" && Option.isSome(memory.maxStoredBytes)) {
    return yield* wrongUse("--max-stored-bytes is for the memory store alone: the others have bounds of their own")
  }
  const loaded = yield* Effect.tryPromise({
    try: () => kind.load(place, memory),
    catch: (cause) =>
      wrongUse(
        kind.driver !== undefined && (cause as { readonly code?: unknown }).code === "ERR_MODULE_NOT_FOUND"
          ? `a store at ${kind.example} needs the package ${kind.driver}. Install it: npm install ${kind.driver}`
          : `the store at ${kind.example} cannot be used: ${cause instanceof Error ? cause.message : String(cause)}`
      )
  })
  const layer = Layer.catchTag(
    loaded,
    "StoreUrlError",
    (error): Layer.Layer<Store.Store, Failed> => Layer.effectContext(Effect.fail(malformed(error)))
  )
  return { layer, place: withoutSecrets(Redacted.value(place)) }
})
