/**
 * The store in etcd over Node's own connections: kept open, and with TLS where it is asked for.
 */
import * as NodeHttpClient from "@effect/platform-node/NodeHttpClient"
import * as Config from "effect/Config"
import * as Effect from "effect/Effect"
import * as Layer from "effect/Layer"
import * as Redacted from "effect/Redacted"
import * as HostsUrl from "../lib/HostsUrl.ts"
import { StoreError } from "../StoreError.ts"
import * as EtcdStore from "./EtcdStore.ts"

/** For `https` endpoints, in PEM: whom to trust, and how to show who asks. */
export interface Tls {
  /** The certificates of those whose signature is trusted; by default those that Node trusts. */
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
        ...(tls?.ca === undefined ? {} : { ca: tls.ca }),
        ...(tls?.cert === undefined ? {} : { cert: tls.cert }),
        ...(tls?.key === undefined ? {} : { key: Redacted.value(tls.key) })
      }
    })))
  )

/**
 * The store in etcd, with options from the configuration.
 *
 * @example
 * ```ts
 * import { Config } from "effect"
 * import { NodeEtcdStore } from "effect-dlm/etcd"
 *
 * const store = NodeEtcdStore.layerConfig({
 *   endpoints: Config.map(Config.String("ETCD_ENDPOINTS"), (urls) => urls.split(",")),
 *   credentials: { username: Config.String("ETCD_USER"), password: Config.Redacted("ETCD_PASSWORD") }
 * })
 * ```
 */
export const layerConfig = (
  options: Config.Wrap<Options>
): Layer.Layer<EtcdStore.Provided, StoreError | Config.ConfigError> =>
  Layer.unwrap(Effect.map(Config.unwrap(options), layer))

/**
 * The store in etcd at an address as one writes it in one line:
 * `etcd://user:password@host:port,host:port/prefix`, or `etcds://` for TLS. The user and the prefix may be
 * left out, and the port too: it is 2379 then. A prefix ends with a slash, which may be left out. What is not a letter or digit in a user, a password or a prefix
 * can be written as in a URL, such as `%40`.
 *
 * For TLS the configuration holds in PEM whom to trust in `ETCD_CA`, and in `ETCD_CERT` and `ETCD_KEY` who asks,
 * each if it is needed.
 *
 * @example
 * ```ts
 * import { Redacted } from "effect"
 * import { NodeEtcdStore } from "effect-dlm/etcd"
 *
 * const store = NodeEtcdStore.layerUrl(Redacted.make("etcd://10.0.0.1:2379,10.0.0.2:2379"))
 * ```
 */
export const layerUrl = (url: Redacted.Redacted<string>): Layer.Layer<EtcdStore.Provided, StoreError> =>
  Layer.unwrap(Effect.gen(function*() {
    const options = yield* optionsOf(Redacted.value(url))
    const pem = yield* pemConfig.pipe(Effect.mapError(failed))
    return layer({ ...options, tls: pem })
  }))

const pemConfig = Config.all({
  ca: Config.withDefault(Config.String("ETCD_CA"), undefined),
  cert: Config.withDefault(Config.String("ETCD_CERT"), undefined),
  key: Config.withDefault(Config.Redacted("ETCD_KEY"), undefined)
})

const failed = (cause: unknown) => new StoreError({ store: "etcd", reason: "Failed", cause })

const optionsOf = (url: string): Effect.Effect<EtcdStore.Options, StoreError> => {
  const parts = HostsUrl.parse(url)
  if (parts === undefined || !/^etcds?$/.test(parts.scheme)) {
    // Nothing of it is told, since it may hold a password.
    return Effect.fail(failed(new Error("its address is not as etcd://user:password@host:port,host:port/prefix")))
  }
  const { hosts, password, path, scheme, user } = parts
  return Effect.succeed({
    endpoints: hosts.map(({ host, port = 2379 }) =>
      `${scheme === "etcds" ? "https" : "http"}://${host.includes(":") ? `[${host}]` : host}:${port}`
    ),
    // So that no other prefix begins with it by chance.
    prefix: path === undefined || path.endsWith("/") ? path : `${path}/`,
    credentials: user === undefined || password === undefined
      ? undefined
      : { username: user, password: Redacted.make(password) }
  })
}
