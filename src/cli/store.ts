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
import type { StoreError } from "../DlmError.ts"
import type * as RedisStore from "../redis/RedisStore.ts"
import * as Store from "../vault/Store.ts"
import { Failed, status } from "./Status.ts"

type StoreLayer = Layer.Layer<Store.Store, StoreError>

interface Kind {
  /** How what one writes begins. */
  readonly schemes: ReadonlyArray<string>
  readonly example: string
  /** The package that it needs beside ours, if any. */
  readonly driver?: string
  readonly load: (
    place: Redacted.Redacted,
    restartGrace: Duration.Duration
  ) => Promise<Effect.Effect<StoreLayer, Failed | Config.ConfigError>>
}

const kinds: ReadonlyArray<Kind> = [
  {
    schemes: ["memory"],
    example: "memory",
    load: async (_, restartGrace) => Effect.succeed(Store.layerMemoryWith({ restartGrace }))
  },
  {
    schemes: ["sqlite:"],
    example: "sqlite:FILE",
    load: async (place) => {
      const { layer } = await import("../sqlite/SqliteStore.ts")
      const [, file, synchronous] = /^sqlite:([^?]+)(?:\?synchronous=(normal|full))?$/.exec(Redacted.value(place)) ?? []
      return file === undefined
        ? Effect.fail(
          wrongUse(
            "--store sqlite: needs the path of a file, such as sqlite:/var/lib/dlm/locks.db, and after it "
              + "?synchronous=normal, ?synchronous=full or nothing"
          )
        )
        : Effect.succeed(layer({ file, synchronous: synchronous as "normal" | "full" | undefined }))
    }
  },
  {
    schemes: ["redis:", "rediss:"],
    example: "redis://HOST",
    driver: "redis",
    load: async (url) => {
      const { layerUrl } = await import("../redis/RedisStore.ts")
      return Effect.succeed(layerUrl({ url }))
    }
  },
  {
    schemes: ["redis+sentinel:", "rediss+sentinel:"],
    example: "redis+sentinel://HOST,HOST,HOST/MASTER",
    driver: "redis",
    load: async (url) => {
      const { layerSentinel } = await import("../redis/RedisStore.ts")
      const options = sentinelsOf(Redacted.value(url))
      return options === undefined
        ? Effect.fail(
          wrongUse("--store redis+sentinel: needs redis+sentinel://USER:PASSWORD@HOST:PORT,HOST:PORT/MASTER")
        )
        : Effect.succeed(layerSentinel(options))
    }
  },
  {
    schemes: ["postgres:", "postgresql:"],
    example: "postgres://HOST/DATABASE",
    driver: "@effect/sql-pg",
    load: async (url) => {
      const { layerUrl } = await import("../postgres/PostgresStore.ts")
      return Effect.map(
        Config.withDefault(Config.Redacted("DLM_POSTGRES_LISTEN_URL"), undefined),
        (listenUrl) => layerUrl({ url, listenUrl })
      )
    }
  },
  {
    schemes: ["etcd:", "etcds:"],
    example: "etcd://HOST,HOST,HOST",
    load: async (url) => {
      const { layerUrl } = await import("../etcd/NodeEtcdStore.ts")
      return Effect.succeed(layerUrl(url))
    }
  }
]

const sentinelUrl = /^(rediss?)\+sentinel:\/\/(?:([^:@/]*):([^@/]*)@)?([^@/]+)\/([^/]+)$/

/** What a URL says of Sentinels: the credentials are those of Redis itself, and the port is 26379 by default. */
const sentinelsOf = (url: string): Parameters<typeof RedisStore.layerSentinel>[0] | undefined => {
  const [, scheme, user, password, hosts, master] = sentinelUrl.exec(url) ?? []
  if (hosts === undefined || master === undefined) return undefined
  return {
    master: decodeURIComponent(master),
    tls: scheme === "rediss",
    sentinels: hosts.split(",").map((text) => {
      const [, host = "", port] = /^(.*?)(?::(\d+))?$/.exec(text) ?? []
      return { host, port: port === undefined ? undefined : Number(port) }
    }),
    credentials: password === undefined ? undefined : {
      username: user === "" || user === undefined ? undefined : decodeURIComponent(user),
      password: Redacted.make(decodeURIComponent(password))
    }
  }
}

const examples = kinds.map(({ example }) => example).join(", ")

export const flag = Flag.String("store").pipe(
  Flag.withDescription(`Where entries live: ${examples} (or DLM_STORE, which keeps a password out of sight; memory)`),
  Flag.optional
)

const wrongUse = (message: string) => new Failed({ status: status.usage, error: "StoreFlag", message })

/** The store that the flag, or `DLM_STORE`, names. What it says is shown to nobody: it may hold a password. */
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
  return yield* yield* Effect.tryPromise({
    try: () => kind.load(place, restartGrace),
    catch: (cause) =>
      wrongUse(
        kind.driver !== undefined && (cause as { readonly code?: unknown }).code === "ERR_MODULE_NOT_FOUND"
          ? `a store at ${kind.example} needs the package ${kind.driver}. Install it: npm install ${kind.driver}`
          : `the store at ${kind.example} cannot be used: ${cause instanceof Error ? cause.message : String(cause)}`
      )
  })
})
