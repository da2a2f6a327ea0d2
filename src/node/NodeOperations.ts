/**
 * Metrics and health of a server over HTTP, for its operators.
 */
import * as NodeHttpServer from "@effect/platform-node/NodeHttpServer"
import * as Effect from "effect/Effect"
import * as HttpRouter from "effect/http/HttpRouter"
import type * as HttpServer from "effect/http/HttpServer"
import type * as HttpServerError from "effect/http/HttpServerError"
import * as HttpServerResponse from "effect/http/HttpServerResponse"
import * as Layer from "effect/Layer"
import * as PrometheusMetrics from "effect/observability/PrometheusMetrics"
import * as Http from "node:http"
import { LockServer } from "../server/LockServer.ts"
import * as TcpSocket from "./TcpSocket.ts"

/** Where to listen. */
export interface Options {
  /** By default `127.0.0.1`: this machine only. */
  readonly host?: string | undefined
  /** 0 means any free one. */
  readonly port: number
}

// An answer other than `NO` only shows that the store answers.
const probe = { ID: "", FileName: "", Action: "TestLock", Expire: 0 } as const

const isReady = ({ handle, isReady }: LockServer["Service"]): Effect.Effect<boolean> =>
  isReady ?? Effect.map(handle(probe), ({ Status }) => Status !== "NO")

const routes = Layer.mergeAll(
  PrometheusMetrics.layerHttp({ path: "/metrics" }),
  HttpRouter.add("GET", "/healthz", HttpServerResponse.text("ok\n")),
  HttpRouter.use((router) =>
    Effect.flatMap(LockServer, (lockServer) =>
      router.add(
        "GET",
        "/readyz",
        Effect.map(isReady(lockServer), (isReady) =>
          isReady
            ? HttpServerResponse.text("ok\n")
            : HttpServerResponse.text("the store cannot be written to\n", { status: 503 }))
      ))
  )
)

// Few programs ask for metrics and health. More connections would use up the descriptors that the lock clients need.
const maxConnections = 64

/** How long what is asked may take once the server is to stop. */
const closing = "1 second"

const createServer = (): Http.Server => {
  const server = Http.createServer({
    requestTimeout: 5_000,
    headersTimeout: 5_000,
    // Node enforces both timeouts at this interval, which is 30 s by default.
    connectionsCheckingInterval: 1_000,
    keepAlive: true,
    keepAliveInitialDelay: TcpSocket.keepAliveMillis
  })
  // Of a client that does not take its answer, or is gone.
  server.timeout = 15_000
  server.maxConnections = maxConnections
  return server
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
  HttpRouter.serve(routes, { disableLogger: true, disableListenLog: true }).pipe(
    Layer.provideMerge(
      NodeHttpServer.layer(createServer, {
        host: options.host ?? "127.0.0.1",
        port: options.port,
        gracefulShutdownTimeout: closing
      })
    )
  )
