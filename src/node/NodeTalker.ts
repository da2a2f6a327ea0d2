/**
 * Talkers over TCP and TLS, on Node.
 */
import * as NodeSocket from "@effect/platform-node/NodeSocket"
import * as Config from "effect/Config"
import type * as Duration from "effect/Duration"
import * as Effect from "effect/Effect"
import * as Layer from "effect/Layer"
import * as Schema from "effect/Schema"
import type * as Tls from "node:tls"
import { InvalidOption } from "../DlmError.ts"
import { DurationText } from "../lib/DurationText.ts"
import { withoutBrackets } from "../lib/HostText.ts"
import { maxPort, portText } from "../lib/PortText.ts"
import { type Address, ServersText } from "../lib/ServersText.ts"
import { defaultPort } from "../protocol/Protocol.ts"
import * as Talker from "../transport/Talker.ts"
import * as NodeClock from "./NodeClock.ts"
import * as NodeTls from "./NodeTls.ts"
import * as TcpSocket from "./TcpSocket.ts"

/** Where the server is, and how long to wait for it. */
export interface Options {
  /** By default `127.0.0.1`. An IPv6 address may be in brackets. */
  readonly host?: string | undefined
  /** By default 37373. */
  readonly port?: number | undefined
  /** How long connecting may take. By default 5 seconds. */
  readonly openTimeout?: Duration.Input | undefined
  /** How long an answer may take. By default 30 seconds. */
  readonly answerTimeout?: Duration.Input | undefined
  /**
   * How to write messages: as `frames`, which cost less, to a server that knows them, or always as `lines`. By default
   * `frames`. Something between the two that reads lines needs `lines`.
   */
  readonly wire?: "frames" | "lines" | undefined
}

/** Where several servers are, each of which has a share of the names, and how long to wait for each. */
export interface ShardedOptions extends Pick<Options, "openTimeout" | "answerTimeout" | "wire"> {
  /** Each by the name that it has in all programs. By default it is at `127.0.0.1` and 37373. */
  readonly servers: Readonly<Record<string, Address>>
  /** With it they are talked to over TLS, as by `layerTls`. */
  readonly tls?: Tls.ConnectionOptions | undefined
}

/** What Config says: one server, or, with `servers`, several that have a share of the names each. */
export interface ConfigOptions extends Options {
  readonly servers?: Readonly<Record<string, Address>> | undefined
}

/** Where to connect to. A port that is none fails here, once, and not each request. */
const address = ({ host = "127.0.0.1", port = defaultPort }: Options) =>
  Number.isInteger(port) && port > 0 && port <= maxPort
    ? Effect.succeed({ host: withoutBrackets(host), port })
    : Effect.fail(
      new InvalidOption({
        name: "NodeTalker",
        option: "port",
        problem: `is ${port}. It has to be a whole number from 1 to ${maxPort}`
      })
    )

/**
 * Talks to a server over TCP.
 *
 * @example
 * ```ts
 * import { Effect } from "effect"
 * import { Lease } from "effect-dlm"
 * import { NodeTalker } from "effect-dlm/node"
 *
 * const program = Effect.log("alone with the file").pipe(
 *   Lease.withLock("orders.csv"),
 *   Effect.provide(NodeTalker.layer({ host: "127.0.0.1", port: 37373 }))
 * )
 * ```
 */
export const layer = (options: Options = {}): Layer.Layer<Talker.Talker, InvalidOption> =>
  Layer.unwrap(Effect.map(address(options), (address) =>
    Talker.layerSocket({
      ...options,
      connect: TcpSocket.connect({ ...address, noDelay: true })
    }))).pipe(Layer.merge(NodeClock.layerSuspendAware))

/**
 * Talks to a server over TLS, 1.2 or later. The server's certificate is
 * checked against `tls.ca`, or else the system's authorities.
 *
 * A connection that is given up is closed, where one over TCP is reset: of what
 * is unsent, the system still sends what it has taken.
 */
export const layerTls = (
  options: Options & { readonly tls?: Tls.ConnectionOptions | undefined }
): Layer.Layer<Talker.Talker, InvalidOption | NodeTls.TlsError> =>
  Layer.unwrap(Effect.gen(function*() {
    const to = yield* address(options)
    const tls = { minVersion: "TLSv1.2", ...options.tls } as const
    yield* NodeTls.check(tls, "the option tls of NodeTalker")
    return Talker.layerSocket({ ...options, connect: NodeSocket.makeTls({ ...tls, ...to }) })
  })).pipe(Layer.merge(NodeClock.layerSuspendAware))

const Wire = Schema.Literals(["frames", "lines"])

/**
 * Talks to several servers over TCP or TLS, each of which has a share of the names: see `Talker.layerSharded`. No server, and
 * a name that is none, are an `InvalidOption`.
 *
 * @example
 * ```ts
 * import { Effect } from "effect"
 * import { Lease } from "effect-dlm"
 * import { NodeTalker } from "effect-dlm/node"
 *
 * const talker = NodeTalker.layerSharded({
 *   servers: { a: { host: "10.0.0.1" }, b: { host: "10.0.0.2" }, c: { host: "10.0.0.3", port: 4000 } }
 * })
 * const program = Effect.log("alone with the file").pipe(Lease.withLock("orders.csv"), Effect.provide(talker))
 * ```
 */
export const layerSharded = (
  { servers, tls, ...options }: ShardedOptions
): Layer.Layer<Talker.Talker, InvalidOption | NodeTls.TlsError> =>
  Talker.layerSharded(
    Object.entries(servers).map(([name, address]) => ({
      name,
      talker: tls === undefined
        ? layer({ ...options, ...address })
        : layerTls({ ...options, ...address, tls })
    }))
  ).pipe(Layer.merge(NodeClock.layerSuspendAware))

/**
 * The options, from Config: `DLM_HOST`, `DLM_PORT`, `DLM_OPEN_TIMEOUT`, `DLM_ANSWER_TIMEOUT` (such as `5s` or `5 seconds`),
 * `DLM_WIRE` (`frames` or `lines`), and `DLM_SERVERS` (such as `a=10.0.0.1:37373,b=10.0.0.2:37373`). A variable that is
 * something else is a `ConfigError`.
 */
export const config: Config.Config<ConfigOptions> = Config.all({
  servers: Config.schema(ServersText, "DLM_SERVERS").pipe(Config.withDefault(undefined)),
  host: Config.String("DLM_HOST").pipe(Config.withDefault("127.0.0.1")),
  port: Config.schema(portText(1), "DLM_PORT").pipe(Config.withDefault(defaultPort)),
  openTimeout: Config.schema(DurationText, "DLM_OPEN_TIMEOUT").pipe(Config.withDefault(undefined)),
  answerTimeout: Config.schema(DurationText, "DLM_ANSWER_TIMEOUT").pipe(Config.withDefault(undefined)),
  wire: Config.schema(Wire, "DLM_WIRE").pipe(Config.withDefault("frames"))
})

/** As `layerTls` with what is in the files; as `layer` where no files are named; as `layerSharded` with `servers`. */
export const layerFiles = (
  { servers, ...options }: ConfigOptions,
  files: NodeTls.Files | undefined
): Layer.Layer<Talker.Talker, InvalidOption | NodeTls.TlsError> => {
  const { answerTimeout, openTimeout, wire } = options
  const talking = (tls: Tls.ConnectionOptions | undefined) =>
    servers !== undefined
      ? layerSharded({ servers, tls, openTimeout, answerTimeout, wire })
      : tls === undefined
      ? layer(options)
      : layerTls({ ...options, tls })
  return files === undefined ? talking(undefined) : Layer.unwrap(Effect.map(NodeTls.fromFiles(files), talking))
}

/**
 * Talks to the server that Config names, or, where `DLM_SERVERS` is set, to the servers that have a share of the names each;
 * over TLS where `NodeTls.config` says so.
 */
export const layerConfig: Layer.Layer<Talker.Talker, Config.ConfigError | InvalidOption | NodeTls.TlsError> = Layer
  .unwrap(
    Effect.map(Config.all([config, NodeTls.config]), ([options, files]) => layerFiles(options, files))
  )
