/**
 * What operators see of a server over HTTP, wherever it comes from: from this process, or from those that it has started.
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

/** What is shown. */
export interface Shown {
  /** All metrics, in the text format of Prometheus. */
  readonly metrics: Effect.Effect<string>
  /** Whether locks can be granted. */
  readonly isReady: Effect.Effect<boolean>
}

// An answer other than `NO` only shows that the store answers.
const probe = { ID: "", FileName: "", Action: "TestLock", Expire: 0 } as const

const isReady = ({ handle, isReady }: LockServer["Service"]): Effect.Effect<boolean> =>
  isReady ?? Effect.map(handle(probe), ({ Status }) => Status !== "NO")

/** Of the LockServer in this process. */
export const ofLockServer: Effect.Effect<Shown, never, LockServer> = Effect.map(LockServer, (lockServer) => ({
  metrics: PrometheusMetrics.format(),
  isReady: isReady(lockServer)
}))

const routes = ({ isReady, metrics }: Shown) =>
  Layer.mergeAll(
    HttpRouter.add(
      "GET",
      "/metrics",
      Effect.map(
        metrics,
        (text) => HttpServerResponse.text(text, { contentType: "text/plain; version=0.0.4; charset=utf-8" })
      )
    ),
    HttpRouter.add("GET", "/healthz", HttpServerResponse.text("ok\n")),
    HttpRouter.add(
      "GET",
      "/readyz",
      Effect.map(isReady, (isReady) =>
        isReady
          ? HttpServerResponse.text("ok\n")
          : HttpServerResponse.text("the store cannot be written to\n", { status: 503 }))
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

/** Serves `/metrics`, `/healthz` (200 as long as this process answers) and `/readyz` (200, or 503 where it is not ready). */
export const layer = (
  options: { readonly host?: string | undefined; readonly port: number },
  shown: Shown
): Layer.Layer<HttpServer.HttpServer, HttpServerError.ServeError> =>
  HttpRouter.serve(routes(shown), { disableLogger: true, disableListenLog: true }).pipe(
    Layer.provideMerge(
      NodeHttpServer.layer(createServer, {
        host: options.host ?? "127.0.0.1",
        port: options.port,
        gracefulShutdownTimeout: closing
      })
    )
  )
