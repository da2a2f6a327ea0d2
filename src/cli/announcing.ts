/**
 * What `dlm serve` says of itself: on standard output as it begins, or why it cannot listen; and to operators, over HTTP.
 */
import * as Config from "effect/Config"
import * as Context from "effect/Context"
import * as Effect from "effect/Effect"
import * as HttpServer from "effect/http/HttpServer"
import * as Layer from "effect/Layer"
import * as NetAddress from "effect/net/NetAddress"
import * as Option from "effect/Option"
import type * as Redacted from "effect/Redacted"
import type * as Stream from "effect/Stream"
import type * as Tls from "node:tls"
import { shownAddress } from "../lib/HostText.ts"
import { plain } from "../lib/quoted.ts"
import * as OperationsHttp from "../node/OperationsHttp.ts"
import type { LockServer } from "../server/LockServer.ts"
import { Failed, print, status } from "./Status.ts"

/** Why there is no server at an address, and by which flag to name another. */
export const cannotListen = (host: string, port: number, cause: unknown, flag: string) =>
  new Failed({
    status: status.system,
    error: "SocketServerError",
    message:
      `cannot listen on ${shownAddress(host, port)} (${cause instanceof Error ? cause.message : String(cause)}). ` +
      `Choose another address with --host and ${flag}, or 0 for a free port`
  })

/** What the flags say of HTTP, and what it is served with. */
export interface HttpGiven {
  readonly host: string
  readonly http: Option.Option<number>
  readonly httpToken: Option.Option<{ readonly token: Redacted.Redacted<string> }>
  /** As the locks are served over TLS, where they are. */
  readonly tls: Pick<Tls.SecureContextOptions, "cert" | "key"> | undefined
  readonly renewals: Stream.Stream<Tls.SecureContextOptions>
}

/** Where metrics and health are, and whether the page is there too. */
export interface ListeningHttp {
  readonly address: string
  readonly scheme: "http" | "https"
  /** Why there is no page, for a person. */
  readonly noPage: string | undefined
}

const noPage = (options: OperationsHttp.Options, ofPage: LockServer["Service"] | undefined): string | undefined =>
  ofPage === undefined
    ? "no page, since --workers are several: see docs/PAGE.md"
    : OperationsHttp.mayShowPage(options)
    ? undefined
    : "no page, since others can reach it: that needs --http-token"

/**
 * Listens for requests of metrics, health and the page where a port for them is named, and gives the address. With a token it
 * speaks TLS where the locks do, or whoever hears the token on its way has it; without, plainly, as scrapers know it.
 */
export const listenHttp = Effect.fnUntraced(function*(
  { host, http, httpToken, renewals, tls }: HttpGiven,
  shown: OperationsHttp.Shown,
  ofPage: LockServer["Service"] | undefined
) {
  if (Option.isNone(http)) return undefined
  const port = http.value
  const token = Option.getOrUndefined(httpToken)?.token
  const secure = token === undefined || tls === undefined
    ? undefined
    : { tls: { cert: tls.cert, key: tls.key }, renewals }
  const options: OperationsHttp.Options = { host, port, token, ...secure }
  const server = yield* Layer.build(OperationsHttp.layer(options, shown, ofPage)).pipe(
    Effect.catchTag("ServeError", (error) => Effect.fail(cannotListen(host, port, error.cause, "--http")))
  )
  return {
    address: NetAddress.formatSocketAddress(Context.get(server, HttpServer.HttpServer).address),
    scheme: secure === undefined ? "http" : "https",
    noPage: noPage(options, ofPage)
  } satisfies ListeningHttp
})

/** What the flags say of whom the server knows, and of where it writes what happens. */
export interface Given {
  readonly identities: Option.Option<string>
  readonly audit: Option.Option<string>
}

const variable = "DLM_IDENTITIES"

/** The same as it is said. Each of several workers writes a file of its own. */
export const givenOf = (
  { audit, identities }: Given,
  hasWorkers: boolean
): Effect.Effect<Pick<Serving, "identities" | "audit">, Config.ConfigError> =>
  Effect.map(Config.option(Config.Redacted(variable)), (list) => ({
    identities: Option.getOrElse(identities, () => Option.isSome(list) ? variable : undefined),
    audit: Option.getOrUndefined(Option.map(audit, (file) => hasWorkers ? `${file}.worker-N` : file))
  }))

/** What a server says of itself as it begins. */
export interface Serving {
  readonly listening: string
  readonly http: ListeningHttp | undefined
  readonly store: string
  /** Which of several it is, and the digest of the list. */
  readonly shard: string | undefined
  /** How many processes serve, where it is more than this one. */
  readonly workers: number | undefined
  /** Where the identities are that it knows, where it was given any: a folder, or a variable. */
  readonly identities: string | undefined
  /** The file to which it appends what happens. */
  readonly audit: string | undefined
}

/** Says where the server listens, where it keeps the locks, which it has, whom it knows, and where it writes what happens. */
export const announce = Effect.fnUntraced(
  function*(json: boolean, serving: Serving) {
    const { audit, http, identities, listening, shard, store, workers } = serving
    if (json) {
      return yield* print(
        JSON.stringify({ listening, http: http?.address, store, shard, workers, identities, audit })
      )
    }
    if (http !== undefined) {
      const at = `${http.scheme}://${http.address}`
      yield* print(`dlm: metrics and health on ${at}`)
      yield* print(`dlm: ${http.noPage ?? `page on ${at}/`}`)
    }
    yield* print(`dlm: listening on ${listening}`)
    yield* print(`dlm: locks are kept in ${store}`)
    if (workers !== undefined) yield* print(`dlm: serves by ${workers} ${workers === 1 ? "worker" : "workers"}`)
    if (shard !== undefined) yield* print(`dlm: has the share of ${shard}`)
    if (identities !== undefined) yield* print(`dlm: knows the identities of ${plain(identities)}`)
    if (audit !== undefined) yield* print(`dlm: what happens is appended to ${plain(audit)}`)
  }
)
