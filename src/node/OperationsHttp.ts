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
import type * as Redacted from "effect/Redacted"
import type * as Scope from "effect/Scope"
import * as Stream from "effect/Stream"
import * as Http from "node:http"
import * as Https from "node:https"
import type * as Tls from "node:tls"
import { LockServer } from "../server/LockServer.ts"
import { lineOf } from "../store/Failures.ts"
import { isLoopback } from "./loopback.ts"
import * as Access from "./page/Access.ts"
import * as Page from "./page/Page.ts"
import * as Token from "./page/Token.ts"
import * as TcpSocket from "./TcpSocket.ts"

/** Where to listen, and who may see what. */
export interface Options {
  /** By default `127.0.0.1`: this machine only. */
  readonly host?: string | undefined
  /** 0 means any free one. */
  readonly port: number
  /** What the page and the metrics are shown to: a browser gives it once, a program as `Authorization: Bearer TOKEN`. */
  readonly token?: Redacted.Redacted<string> | undefined
  /** Speaks TLS, 1.2 or later, with a certificate and its key. */
  readonly tls?: Pick<Tls.SecureContextOptions, "cert" | "key"> | undefined
  /** What TLS uses from then on, for new connections. What cannot be used is logged, and changes nothing. */
  readonly renewals?: Stream.Stream<Pick<Tls.SecureContextOptions, "cert" | "key">> | undefined
}

/** Whether nobody from elsewhere can have a page without a token: else none is served. */
export const mayShowPage = ({ host = "127.0.0.1", token }: Options): boolean => token !== undefined || isLoopback(host)

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

const routes = ({ isReady, metrics }: Shown, access: Access.Access) =>
  Layer.mergeAll(
    HttpRouter.add(
      "GET",
      "/metrics",
      access.program(Effect.map(
        metrics,
        (text) => HttpServerResponse.text(text, { contentType: "text/plain; version=0.0.4; charset=utf-8" })
      ))
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

const bounds = {
  requestTimeout: 5_000,
  headersTimeout: 5_000,
  // Node enforces both timeouts at this interval, which is 30 s by default.
  connectionsCheckingInterval: 1_000,
  keepAlive: true,
  keepAliveInitialDelay: TcpSocket.keepAliveMillis
}

const secureBounds: Tls.TlsOptions = { minVersion: "TLSv1.2", handshakeTimeout: bounds.requestTimeout }

const createServer = ({ tls }: Options): Http.Server | Https.Server => {
  const server = tls === undefined
    ? Http.createServer(bounds)
    : Https.createServer({ ...bounds, ...secureBounds, ...tls })
  // Of a client that does not take its answer, or is gone.
  server.timeout = 15_000
  server.maxConnections = maxConnections
  return server
}

/** Lets the server use for new connections what comes. */
const renewing = (
  server: Https.Server,
  renewals: NonNullable<Options["renewals"]>
): Effect.Effect<void, never, Scope.Scope> =>
  Effect.asVoid(Effect.forkScoped(Stream.runForEach(renewals, ({ cert, key }) =>
    Effect.try({
      try: () => server.setSecureContext({ ...secureBounds, cert, key }),
      catch: lineOf
    }).pipe(Effect.catch((why) => Effect.logWarning(`What --http was to use from now on cannot be used: ${why}`))))))

const layerServer = (options: Options): Layer.Layer<HttpServer.HttpServer, HttpServerError.ServeError> =>
  Layer.unwrap(Effect.gen(function*() {
    const server = createServer(options)
    if (server instanceof Https.Server && options.renewals !== undefined) yield* renewing(server, options.renewals)
    return NodeHttpServer.layer(() => server, {
      host: options.host ?? "127.0.0.1",
      port: options.port,
      gracefulShutdownTimeout: closing
    })
  }))

/**
 * Serves `/metrics`, `/healthz` (200 as long as this process answers) and `/readyz` (200, or 503 where it is not ready), and the
 * page of a LockServer where one is given and nobody from elsewhere can have it without a token.
 */
export const layer = (
  options: Options,
  shown: Shown,
  ofPage?: LockServer["Service"]
): Layer.Layer<HttpServer.HttpServer, HttpServerError.ServeError> =>
  Layer.unwrap(Effect.gen(function*() {
    const token = options.token === undefined ? undefined : yield* Token.make(options.token)
    const access = Access.make(token, options.tls !== undefined)
    const page = ofPage !== undefined && mayShowPage(options) ? Page.layer(access, ofPage) : Layer.empty
    return HttpRouter.serve(Layer.mergeAll(routes(shown, access), page), {
      disableLogger: true,
      disableListenLog: true
    }).pipe(Layer.provideMerge(layerServer(options)))
  }))
