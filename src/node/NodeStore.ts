/**
 * The store that a URL names, as `dlm serve --store` and `DLM_STORE` do: so that a program and the command choose it alike.
 *
 * The module of a store is loaded only when it is asked for, since its driver need not be installed.
 */
import * as Config from "effect/Config"
import * as Effect from "effect/Effect"
import * as Layer from "effect/Layer"
import * as Option from "effect/Option"
import * as Redacted from "effect/Redacted"
import * as Identities from "../server/Identities.ts"
import * as LockServer from "../server/LockServer.ts"
import * as Store from "../store/Store.ts"
import { malformed } from "../store/StoreUrl.ts"
import { StoreDriverMissing, StoreError, StoreUrlError } from "../StoreError.ts"
import type { Talker } from "../transport/Talker.ts"

/** Which store, and what is said of it beside its URL. */
export interface Options extends Store.MemoryOptions {
  /**
   * `memory`, `sqlite:FILE`, `redis://HOST`, `redis+sentinel://HOST,HOST,HOST/MASTER`, `postgres://HOST/DATABASE` or
   * `etcd://HOST,HOST,HOST`; each with what its own store accepts.
   */
  readonly url: Redacted.Redacted
  /** For Postgres, where `url` is of a pooler: the database itself, to listen there. */
  readonly listenUrl?: Redacted.Redacted | undefined
}

/** Why there is no store. */
export type OpenError = StoreError | StoreUrlError | StoreDriverMissing

type Loaded = Layer.Layer<Store.Store, StoreError | StoreUrlError>

interface Kind {
  readonly store: string
  /** How what one writes begins. */
  readonly schemes: ReadonlyArray<string>
  readonly example: string
  /** The package that it needs beside ours, if any. */
  readonly driver?: string
  /** The store at the URL, or its refusal of the URL. */
  readonly load: (options: Options) => Promise<Loaded>
}

const redis = async ({ url }: Options): Promise<Loaded> => (await import("../redis/RedisStore.ts")).layerUrl({ url })

const kinds: ReadonlyArray<Kind> = [
  { store: "memory", schemes: ["memory"], example: "memory", load: async (options) => Store.layerMemoryWith(options) },
  {
    store: "sqlite",
    schemes: ["sqlite:"],
    example: "sqlite:FILE",
    load: async ({ url }) => (await import("../sqlite/SqliteStore.ts")).layerUrl({ url })
  },
  { store: "redis", schemes: ["redis:", "rediss:"], example: "redis://HOST", driver: "redis", load: redis },
  {
    store: "redis",
    schemes: ["redis+sentinel:", "rediss+sentinel:"],
    example: "redis+sentinel://HOST,HOST,HOST/MASTER",
    driver: "redis",
    load: redis
  },
  {
    store: "postgres",
    schemes: ["postgres:", "postgresql:"],
    example: "postgres://HOST/DATABASE",
    driver: "@effect/sql-pg",
    load: async ({ listenUrl, url }) => (await import("../postgres/PostgresStore.ts")).layerUrl({ url, listenUrl })
  },
  {
    store: "etcd",
    schemes: ["etcd:", "etcds:"],
    example: "etcd://HOST,HOST,HOST",
    load: async ({ url }) => (await import("../etcd/NodeEtcdStore.ts")).layerUrl({ url })
  }
]

/** One URL of each store. */
export const examples = kinds.map(({ example }) => example).join(", ")

const kindOf = (url: Redacted.Redacted): Kind | undefined =>
  kinds.find(({ schemes }) =>
    schemes.some((scheme) =>
      scheme.endsWith(":") ? Redacted.value(url).startsWith(scheme) : Redacted.value(url) === scheme
    )
  )

/** Whether the URL is of the store in memory, to which alone `restartGrace` and `maxStoredBytes` matter. */
export const isMemory = (url: Redacted.Redacted): boolean => kindOf(url)?.store === "memory"

const load = (kind: Kind, options: Options) =>
  Effect.tryPromise({
    try: () => kind.load(options),
    catch: (cause) =>
      kind.driver !== undefined && (cause as { readonly code?: unknown }).code === "ERR_MODULE_NOT_FOUND"
        ? new StoreDriverMissing({ store: kind.store, driver: kind.driver })
        : new StoreError({ store: kind.store, reason: "Failed", cause })
  })

/**
 * The store that a URL names. Fails with a `StoreUrlError` where it names none, or is not written as that store wants it,
 * with a `StoreDriverMissing` where the package is not installed that the store needs, and with a `StoreError` where it
 * cannot be opened.
 *
 * @example
 * ```ts
 * import { Layer, Redacted } from "effect"
 * import { NodeStore } from "effect-dlm/node"
 * import { Identities, LockServer } from "effect-dlm/server"
 *
 * const talker = LockServer.layerTalker.pipe(
 *   Layer.provide(LockServer.layer),
 *   Layer.provide([NodeStore.layerUrl({ url: Redacted.make("sqlite:locks.db") }), Identities.layerNone])
 * )
 * ```
 */
export const layerUrl = (options: Options): Layer.Layer<Store.Store, OpenError> => {
  const kind = kindOf(options.url)
  const loaded: Effect.Effect<Loaded, OpenError> = kind === undefined
    ? Effect.fail(malformed("lock", `one of: ${examples}`))
    : load(kind, options)
  return Layer.unwrap(loaded)
}

/** `DLM_STORE`, by default `memory`, and `DLM_POSTGRES_LISTEN_URL`. */
export const config: Config.Config<Pick<Options, "url" | "listenUrl">> = Config.all({
  url: Config.withDefault(Config.Redacted("DLM_STORE"), Redacted.make("memory")),
  listenUrl: Config.withDefault(Config.Redacted("DLM_POSTGRES_LISTEN_URL"), undefined)
})

const notSet = "DLM_STORE is not set: locks are kept in the memory of this process, and exclude no other process"

/**
 * The store that `DLM_STORE` names, as for `dlm serve`: by default the one in memory, with a warning, since that keeps no other
 * process out. `DLM_STORE=memory` says that it is meant.
 *
 * @example
 * ```ts
 * import { Layer } from "effect"
 * import { NodeStore } from "effect-dlm/node"
 * import { Identities, LockServer } from "effect-dlm/server"
 *
 * // Locks without a lock server, over the Postgres or Redis that is there: DLM_STORE=postgres://HOST/DATABASE
 * const talker = LockServer.layerTalker.pipe(
 *   Layer.provide(LockServer.layer),
 *   Layer.provide([NodeStore.layerConfig, Identities.layerConfig])
 * )
 * ```
 */
export const layerConfig: Layer.Layer<Store.Store, OpenError | Config.ConfigError> = Layer.unwrap(
  Effect.gen(function*() {
    const isSet = yield* Config.option(Config.Redacted("DLM_STORE"))
    if (Option.isNone(isSet)) yield* Effect.logWarning(notSet)
    return layerUrl(yield* config)
  })
)

/**
 * A Talker without a lock server: a `LockServer` in this process, over the store that `DLM_STORE` names, which knows the
 * identities of `DLM_IDENTITIES`. All processes over one store exclude one another.
 *
 * @example
 * ```ts
 * import { Effect } from "effect"
 * import { Lease } from "effect-dlm"
 * import { NodeStore } from "effect-dlm/node"
 *
 * // DLM_STORE=postgres://HOST/DATABASE
 * const program = Effect.log("alone").pipe(Lease.withLock("orders"), Effect.provide(NodeStore.layerTalkerConfig))
 * ```
 */
export const layerTalkerConfig: Layer.Layer<Talker, OpenError | Config.ConfigError> = LockServer.layerTalker.pipe(
  Layer.provide(LockServer.layer),
  Layer.provide([layerConfig, Identities.layerConfig])
)
