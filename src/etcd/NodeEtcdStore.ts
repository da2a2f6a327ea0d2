/**
 * The store in etcd over Node's own connections: kept open, and with TLS where it is asked for.
 */
import * as NodeHttpClient from "@effect/platform-node/NodeHttpClient"
import * as Config from "effect/Config"
import * as Effect from "effect/Effect"
import * as Layer from "effect/Layer"
import * as Redacted from "effect/Redacted"
import * as Failures from "../store/Failures.ts"
import type { StoreError, StoreUrlError } from "../StoreError.ts"
import * as EtcdStore from "./EtcdStore.ts"
import * as EtcdUrl from "./url.ts"

/** For `https` endpoints, in PEM: whom to trust, and how the store shows who it is. */
export interface Tls {
  /** The certificates of the authorities to trust; by default the authorities that Node trusts. */
  readonly ca?: string | undefined
  /** Our own certificate, where etcd asks for one (`--client-cert-auth`). */
  readonly cert?: string | undefined
  /** The key of our certificate. */
  readonly key?: Redacted.Redacted<string> | undefined
}

/** Where etcd is, how it is used, and how its connections are secured. */
export interface Options extends EtcdStore.Options {
  readonly tls?: Tls | undefined
}

/**
 * The store in etcd. It fails as `EtcdStore.layer` does.
 *
 * @example
 * ```ts
 * import { Redacted } from "effect"
 * import { NodeEtcdStore } from "effect-dlm/etcd"
 *
 * const store = NodeEtcdStore.layer({
 *   endpoints: ["https://etcd-1:2379", "https://etcd-2:2379", "https://etcd-3:2379"],
 *   tls: { ca: "-----BEGIN CERTIFICATE-----…" },
 *   credentials: { username: "locks", password: Redacted.make("…") }
 * })
 * ```
 */
export const layer = ({ tls, ...options }: Options): Layer.Layer<EtcdStore.Provided, StoreError> =>
  EtcdStore.layer(options).pipe(
    Layer.provide(Layer.fresh(NodeHttpClient.layerUndiciOptions({
      // The same with TLS and without.
      allowH2: false,
      connect: {
        // A watch may be silent for long: the system asks whether the other end is there.
        keepAlive: true,
        keepAliveInitialDelay: 15_000,
        ...(tls?.ca === undefined ? {} : { ca: tls.ca }),
        ...(tls?.cert === undefined ? {} : { cert: tls.cert }),
        ...(tls?.key === undefined ? {} : { key: Redacted.value(tls.key) })
      }
    })))
  )

/** Where etcd is by its URL, and how its connections are secured. */
export interface UrlOptions extends Pick<EtcdStore.Options, "timeout"> {
  /**
   * `etcd://user:password@host:port,host:port/prefix`, or `etcds://` for TLS. The user and the prefix may be left out,
   * and the port too: it is 2379 then. A prefix ends with a slash, which may be left out. What is no letter or digit
   * in a user, a password or a prefix is written as in any URL, `%40` for `@`.
   */
  readonly url: Redacted.Redacted
  /** By default what the configuration has in `ETCD_CA`, `ETCD_CERT` and `ETCD_KEY`, each if it is needed. */
  readonly tls?: Tls | undefined
}

/**
 * The store in the etcd of a URL. Fails with a `StoreUrlError` where the URL is not written as `UrlOptions` says, and
 * else as `EtcdStore.layer` does.
 *
 * @example
 * ```ts
 * import { Redacted } from "effect"
 * import { NodeEtcdStore } from "effect-dlm/etcd"
 *
 * const store = NodeEtcdStore.layerUrl({ url: Redacted.make("etcd://10.0.0.1:2379,10.0.0.2:2379/locks") })
 * ```
 */
export const layerUrl = (options: UrlOptions): Layer.Layer<EtcdStore.Provided, StoreError | StoreUrlError> =>
  Layer.unwrap(Effect.gen(function*() {
    const place = yield* Effect.fromResult(EtcdUrl.parse(options.url))
    const tls = options.tls ?? (yield* Effect.mapError(pemConfig, (cause) => Failures.failed("etcd", cause)))
    return layer({ ...place, timeout: options.timeout, tls })
  }))

const pemConfig = Config.all({
  ca: Config.withDefault(Config.String("ETCD_CA"), undefined),
  cert: Config.withDefault(Config.String("ETCD_CERT"), undefined),
  key: Config.withDefault(Config.Redacted("ETCD_KEY"), undefined)
})

/**
 * As `layerUrl`, from the configuration.
 *
 * @example
 * ```ts
 * import { Config } from "effect"
 * import { NodeEtcdStore } from "effect-dlm/etcd"
 *
 * const store = NodeEtcdStore.layerConfig({
 *   url: Config.Redacted("ETCD_URL"),
 *   tls: { ca: Config.String("ETCD_AUTHORITY") }
 * })
 * ```
 */
export const layerConfig = (
  config: Config.Wrap<UrlOptions>
): Layer.Layer<EtcdStore.Provided, StoreError | StoreUrlError | Config.ConfigError> =>
  Layer.unwrap(Effect.map(Config.unwrap(config), layerUrl))
