/**
 * Metrics, health and the page of a server over HTTP, for its operators.
 */
import * as Effect from "effect/Effect"
import type * as HttpServer from "effect/http/HttpServer"
import type * as HttpServerError from "effect/http/HttpServerError"
import * as Layer from "effect/Layer"
import { LockServer } from "../server/LockServer.ts"
import * as OperationsHttp from "./OperationsHttp.ts"

/** Where to listen, and who may see what. */
export interface Options extends OperationsHttp.Options {
  /**
   * Whether to serve the page at `/` too, which shows names and labels. By default not. Without a `token` it is served on a
   * loopback address only: on another there is none, and the log says so.
   */
  readonly page?: boolean | undefined
}

/**
 * Serves `/metrics` in the text format of Prometheus, `/healthz` (200 as long as the process answers), and `/readyz`
 * (200 as long as the store can be written to, and else 503). These show no name and no owner, and without a `token` they
 * authenticate nobody: let only the server's operators reach them. Health and readiness are open in any case. With `page`
 * there is a page at `/` as well: which names are held, by whom, and who waits. Of its connections 64 may be open at a time; a
 * further one is closed at once.
 *
 * @example
 * ```ts
 * import { Layer, Redacted } from "effect"
 * import { NodeLockServer, NodeOperations } from "effect-dlm/node"
 * import { Identities, LockServer } from "effect-dlm/server"
 *
 * const server = Layer.mergeAll(
 *   NodeLockServer.layer(),
 *   NodeOperations.layer({ port: 9090, page: true, token: Redacted.make("a long text that nobody guesses") })
 * ).pipe(Layer.provide([LockServer.layerMemory, Identities.layerNone]))
 * ```
 */
export const layer = (options: Options): Layer.Layer<HttpServer.HttpServer, HttpServerError.ServeError, LockServer> =>
  Layer.unwrap(Effect.gen(function*() {
    const shown = yield* OperationsHttp.ofLockServer
    const lockServer = yield* LockServer
    const wantsPage = options.page === true
    if (wantsPage && !OperationsHttp.mayShowPage(options)) {
      yield* Effect.logWarning("There is no page, since others can reach its address: that needs a token")
    }
    return OperationsHttp.layer(options, shown, wantsPage ? lockServer : undefined)
  }))
