/**
 * What `dlm serve` says of itself: on standard output as it begins, or why it cannot listen; and to operators, over HTTP.
 */
import * as Context from "effect/Context"
import * as Effect from "effect/Effect"
import * as HttpServer from "effect/http/HttpServer"
import * as Layer from "effect/Layer"
import * as NetAddress from "effect/net/NetAddress"
import * as Option from "effect/Option"
import { shownAddress } from "../lib/HostText.ts"
import * as OperationsHttp from "../node/OperationsHttp.ts"
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

/** Listens for requests of metrics and health where a port for them is named, and gives the address. */
export const listenHttp = Effect.fnUntraced(function*(
  host: string,
  http: Option.Option<number>,
  shown: OperationsHttp.Shown
) {
  if (Option.isNone(http)) return undefined
  const port = http.value
  const server = yield* Layer.build(OperationsHttp.layer({ host, port }, shown)).pipe(
    Effect.catchTag("ServeError", (error) => Effect.fail(cannotListen(host, port, error.cause, "--http")))
  )
  return NetAddress.formatSocketAddress(Context.get(server, HttpServer.HttpServer).address)
})

/** What a server says of itself as it begins. */
export interface Serving {
  readonly listening: string
  readonly http: string | undefined
  readonly store: string
  /** Which of several it is, and the digest of the list. */
  readonly shard: string | undefined
  /** How many processes serve, where it is more than this one. */
  readonly workers: number | undefined
}

/** Says where the server listens, where it keeps the locks, and which it has. */
export const announce = Effect.fnUntraced(
  function*(json: boolean, serving: Serving) {
    const { http, listening, shard, store, workers } = serving
    if (json) return yield* print(JSON.stringify({ listening, http, store, shard, workers }))
    if (http !== undefined) yield* print(`dlm: metrics and health on http://${http}`)
    yield* print(`dlm: listening on ${listening}`)
    yield* print(`dlm: locks are kept in ${store}`)
    if (workers !== undefined) yield* print(`dlm: serves by ${workers} ${workers === 1 ? "worker" : "workers"}`)
    if (shard !== undefined) yield* print(`dlm: has the share of ${shard}`)
  }
)
