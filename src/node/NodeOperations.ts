/**
 * Metrics and health of a server over HTTP, for its operators.
 */
import * as Effect from "effect/Effect"
import type * as HttpServer from "effect/http/HttpServer"
import type * as HttpServerError from "effect/http/HttpServerError"
import * as Layer from "effect/Layer"
import type { LockServer } from "../server/LockServer.ts"
import * as OperationsHttp from "./OperationsHttp.ts"

/** Where to listen. */
export interface Options {
  /** By default `127.0.0.1`: this machine only. */
  readonly host?: string | undefined
  /** 0 means any free one. */
  readonly port: number
}

/**
 * Serves `/metrics` in the text format of Prometheus, `/healthz` (200 as long as the process answers), and `/readyz`
 * (200 as long as the store can be written to, and else 503). It shows no name and no owner, and authenticates no client:
 * let only the server's operators reach it. Of its connections 64 may be open at a time; a further one is closed at
 * once.
 *
 * @example
 * ```ts
 * import { Layer } from "effect"
 * import { NodeLockServer, NodeOperations } from "effect-dlm/node"
 * import { Identities, LockServer } from "effect-dlm/server"
 *
 * const server = Layer.mergeAll(NodeLockServer.layer(), NodeOperations.layer({ port: 9090 })).pipe(
 *   Layer.provide([LockServer.layerMemory, Identities.layerNone])
 * )
 * ```
 */
export const layer = (options: Options): Layer.Layer<HttpServer.HttpServer, HttpServerError.ServeError, LockServer> =>
  Layer.unwrap(Effect.map(OperationsHttp.ofLockServer, (shown) => OperationsHttp.layer(options, shown)))
