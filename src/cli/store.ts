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
import * as Result from "effect/Result"
import * as HostsUrl from "../lib/HostsUrl.ts"
import type * as RedisStore from "../redis/RedisStore.ts"
import * as Store from "../store/Store.ts"
import type { StoreError } from "../StoreError.ts"
import { Failed, status } from "./Status.ts"

type StoreLayer = Layer.Layer<Store.Store, StoreError>

interface Kind {
  /** How what one writes begins. */
  readonly schemes: ReadonlyArray<string>
  readonly example: string
  /** Whether it is written as it must be, which is `form`. */
  readonly isWellFormed: (place: string) => boolean
  readonly form: string
  /** The package that it needs beside ours, if any. */
  readonly driver?: string
  readonly load: (
    place: Redacted.Redacted,
    restartGrace: Duration.Duration
  ) => Promise<Effect.Effect<StoreLayer, Failed | Config.ConfigError>>
}

/** Whether a URL of one host can be read, and what is escaped in it. A `#` would cut off a password, and what follows. */
const isUrl = (text: string): boolean =>
  URL.canParse(text) && !text.includes("#") && Result.isSuccess(Result.try(() => decodeURIComponent(text)))

const isPostgresUrl = (text: string): boolean => isUrl(text) && /^postgres(?:ql)?:\/\//.test(text)
const urlForm = (form: string): string => `${form}, and what is no letter or digit in a password as %40 for @`
const postgresForm = urlForm("postgres://USER:PASSWORD@HOST:PORT/DATABASE")

/** What a URL says of Sentinels: the credentials are those of Redis itself, and the port is 26379 by default. */
const sentinelsOf = (url: string): Parameters<typeof RedisStore.layerSentinel>[0] | undefined => {
  const parts = HostsUrl.parse(url)
  if (parts?.path === undefined || parts.path.includes("/")) return undefined
  const { hosts, password, path, scheme, user } = parts
  return {
    master: path,
    tls: scheme.startsWith("rediss"),
    sentinels: hosts,
    credentials: password === undefined
      ? undefined
      : { username: user === "" ? undefined : user, password: Redacted.make(password) }
  }
}

const sqliteFile = /^sqlite:([^?]+)(?:\?synchronous=(normal|full))?$/

const kinds: ReadonlyArray<Kind> = [
  {
    schemes: ["memory"],
    example: "memory",
    isWellFormed: () => true,
    form: "memory",
    load: async (_, restartGrace) => Effect.succeed(Store.layerMemoryWith({ restartGrace }))
  },
  {
    schemes: ["sqlite:"],
    example: "sqlite:FILE",
    isWellFormed: (place) => sqliteFile.test(place),
    form: "sqlite:/var/lib/dlm/locks.db, and after it ?synchronous=normal, ?synchronous=full or nothing",
    load: async (place) => {
      const { layer } = await import("../sqlite/SqliteStore.ts")
      const [, file = "", synchronous] = sqliteFile.exec(Redacted.value(place)) ?? []
      return Effect.succeed(layer({ file, synchronous: synchronous as "normal" | "full" | undefined }))
    }
  },
  {
    schemes: ["redis:", "rediss:"],
    example: "redis://HOST",
    isWellFormed: (place) => isUrl(place) && /^rediss?:\/\/[^/?]+(?:\/\d*)?$/.test(place),
    form: urlForm("redis://USER:PASSWORD@HOST:PORT/NUMBER"),
    driver: "redis",
    load: async (url) => {
      const { layerUrl } = await import("../redis/RedisStore.ts")
      return Effect.succeed(layerUrl({ url }))
    }
  },
  {
    schemes: ["redis+sentinel:", "rediss+sentinel:"],
    example: "redis+sentinel://HOST,HOST,HOST/MASTER",
    isWellFormed: (place) => sentinelsOf(place) !== undefined,
    form: urlForm("redis+sentinel://USER:PASSWORD@HOST:PORT,HOST:PORT/MASTER"),
    driver: "redis",
    load: async (url) => {
      const { layerSentinel } = await import("../redis/RedisStore.ts")
      return Effect.succeed(layerSentinel(sentinelsOf(Redacted.value(url))!))
    }
  },
  {
    schemes: ["postgres:", "postgresql:"],
    example: "postgres://HOST/DATABASE",
    isWellFormed: isPostgresUrl,
    form: postgresForm,
    driver: "@effect/sql-pg",
    load: async (url) => {
      const { layerUrl } = await import("../postgres/PostgresStore.ts")
      return Effect.flatMap(
        Config.withDefault(Config.Redacted("DLM_POSTGRES_LISTEN_URL"), undefined),
        (listenUrl) =>
          listenUrl === undefined || isPostgresUrl(Redacted.value(listenUrl))
            ? Effect.succeed(layerUrl({ url, listenUrl }))
            : Effect.fail(malformed("DLM_POSTGRES_LISTEN_URL", postgresForm))
      )
    }
  },
  {
    schemes: ["etcd:", "etcds:"],
    example: "etcd://HOST,HOST,HOST",
    isWellFormed: (place) => HostsUrl.parse(place) !== undefined,
    form: urlForm("etcd://USER:PASSWORD@HOST:PORT,HOST:PORT/PREFIX"),
    load: async (url) => {
      const { layerUrl } = await import("../etcd/NodeEtcdStore.ts")
      return Effect.succeed(layerUrl(url))
    }
  }
]

const examples = kinds.map(({ example }) => example).join(", ")

export const flag = Flag.String("store").pipe(
  Flag.withDescription(`Where entries live: ${examples} (or DLM_STORE, which keeps a password out of sight; memory)`),
  Flag.optional
)

const wrongUse = (message: string) => new Failed({ status: status.usage, error: "StoreFlag", message })

// Nothing of it is shown, since a part of a password may be anywhere in it.
const malformed = (what: string, form: string) => wrongUse(`${what} cannot be read. Write it as ${form}`)

/** The same without a user, a password, or options. */
export const withoutSecrets = (place: string): string => {
  if (!place.includes("://") || place.startsWith("sqlite:")) return place.replace(/\?.*$/s, "")
  const scheme = place.slice(0, place.indexOf("://") + 3)
  const [rest = "", query = ""] = place.slice(scheme.length).split(/\?(.*)/s)
  // Whoever wrote a password without escaping it may have a part of it on either side.
  return query.includes("@") ? `${scheme}…` : scheme + rest.slice(rest.lastIndexOf("@") + 1)
}

/** The store that the flag, or `DLM_STORE`, names, and where it is, without what nobody may see: it may hold a password. */
export const fromFlag = Effect.fnUntraced(function*(given: Option.Option<string>, restartGrace: Duration.Duration) {
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
  if (kind.example !== "memory" && !Duration.isZero(restartGrace)) {
    return yield* wrongUse("--restart-grace is for the memory store alone: the others forget nothing at a restart")
  }
  if (!kind.isWellFormed(Redacted.value(place))) {
    return yield* malformed("--store (or DLM_STORE)", kind.form)
  }
  const layer = yield* yield* Effect.tryPromise({
    try: () => kind.load(place, restartGrace),
    catch: (cause) =>
      wrongUse(
        kind.driver !== undefined && (cause as { readonly code?: unknown }).code === "ERR_MODULE_NOT_FOUND"
          ? `a store at ${kind.example} needs the package ${kind.driver}. Install it: npm install ${kind.driver}`
          : `the store at ${kind.example} cannot be used: ${cause instanceof Error ? cause.message : String(cause)}`
      )
  })
  return { layer, place: withoutSecrets(Redacted.value(place)) }
})
