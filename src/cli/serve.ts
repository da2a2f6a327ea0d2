/**
 * `dlm serve`: the server.
 */
import * as Command from "effect/cli/Command"
import * as Flag from "effect/cli/Flag"
import * as Config from "effect/Config"
import * as Context from "effect/Context"
import * as Effect from "effect/Effect"
import { identity } from "effect/Function"
import * as Layer from "effect/Layer"
import * as Logger from "effect/Logger"
import * as NetAddress from "effect/net/NetAddress"
import * as Option from "effect/Option"
import * as Queue from "effect/Queue"
import * as Redacted from "effect/Redacted"
import * as SocketServer from "effect/socket/SocketServer"
import * as Stream from "effect/Stream"
import type * as Tls from "node:tls"
import { portText } from "../lib/PortText.ts"
import type { AuditFile } from "../node/AuditFile.ts"
import { isLoopback } from "../node/loopback.ts"
import * as NodeLockServer from "../node/NodeLockServer.ts"
import * as NodeProcess from "../node/NodeProcess.ts"
import * as NodeTls from "../node/NodeTls.ts"
import * as OperationsHttp from "../node/OperationsHttp.ts"
import * as Worker from "../node/Worker.ts"
import { defaultPort } from "../protocol/Protocol.ts"
import * as History from "../server/History.ts"
import * as Identities from "../server/Identities.ts"
import * as Limits from "../server/Limits.ts"
import * as LockServer from "../server/LockServer.ts"
import * as Shard from "../server/Shard.ts"
import * as SocketLockServer from "../server/SocketLockServer.ts"
import { announce, cannotListen, givenOf, listenHttp } from "./announcing.ts"
import * as Flags from "./Flags.ts"
import * as garbage from "./garbage.ts"
import * as HistoryFlags from "./history.ts"
import * as LimitFlags from "./limits.ts"
import { Failed, reporting, status } from "./Status.ts"
import * as StoreFlag from "./store.ts"
import * as Workers from "./workers.ts"

const identities = Flag.Directory("identities", { mustExist: true }).pipe(
  Flag.withDescription("Folder of the identities that may hold longer and store more (or DLM_IDENTITIES, as JSON)"),
  Flag.optional
)

// Standard output is for what the command itself says.
const jsonLogs = Logger.layer([Logger.withConsoleError(Logger.formatJson)])

const pemFile = (name: string, description: string, variable: string) =>
  Flag.File(name, { mustExist: true }).pipe(
    Flag.withDescription(`${description} (${variable})`),
    Flag.withFallbackConfig(Config.NonEmptyString(variable)),
    Flag.optional
  )

const text = (name: string, variable: string, description: string) =>
  Flag.String(name).pipe(
    Flag.withSchema(Flags.someText),
    Flag.withDescription(`${description} (${variable})`),
    Flag.withFallbackConfig(Config.NonEmptyString(variable)),
    Flag.optional
  )

const wrongUse = (message: string) => new Failed({ status: status.usage, error: "WrongUse", message })

const flags = {
  host: Flag.String("host").pipe(
    Flag.withSchema(Flags.hostText),
    Flag.withDescription("Address to listen on (DLM_HOST; 127.0.0.1)"),
    Flag.withFallbackConfig(Config.schema(Flags.hostText, "DLM_HOST")),
    Flag.withDefault("127.0.0.1")
  ),
  port: Flag.Int("port").pipe(
    Flag.withSchema(Flags.portNumber),
    Flag.withDescription(`Port to listen on, 0 for a free one (DLM_PORT; ${defaultPort})`),
    Flag.withFallbackConfig(Config.schema(portText(0), "DLM_PORT")),
    Flag.withDefault(defaultPort)
  ),
  identities,
  store: StoreFlag.flag,
  workers: Workers.flag,
  restartGrace: Flags.duration("restart-grace", "DLM_RESTART_GRACE").pipe(
    Flag.withDescription(
      "With the memory store: grant no name for so long after the start, since it forgot who holds them (DLM_RESTART_GRACE)"
    ),
    Flag.optional
  ),
  maxStoredBytes: LimitFlags.maxStoredBytes,
  shard: text("shard", "DLM_SHARD", "Have a share of the names: which of --shards this server is"),
  shards: text("shards", "DLM_SHARDS", "The names of all servers that have a share, such as a,b,c"),
  tlsCert: pemFile("tls-cert", "Our certificate, in PEM: serve over TLS", "DLM_TLS_CERT"),
  tlsKey: pemFile("tls-key", "Its private key, in PEM", "DLM_TLS_KEY"),
  tlsCa: pemFile("tls-ca", "Let in only those with a certificate of these authorities, in PEM", "DLM_TLS_CA"),
  insecure: Flag.Boolean("insecure").pipe(
    Flag.withDescription("Listen on other than a loopback address without TLS and identities (DLM_INSECURE)"),
    Flag.withFallbackConfig(Config.Boolean("DLM_INSECURE")),
    Flag.withDefault(false)
  ),
  http: Flag.Int("http").pipe(
    Flag.withSchema(Flags.portNumber),
    Flag.withDescription(
      "Serve a page at /, /metrics, /healthz and /readyz on this port of the same address, 0 for a free one (DLM_HTTP)"
    ),
    Flag.withFallbackConfig(Config.schema(portText(0), "DLM_HTTP")),
    Flag.optional
  ),
  ...HistoryFlags.flags,
  httpToken: Flag.Redacted("http-token").pipe(
    Flag.withDescription(
      "What opens the page and /metrics. All users of a machine see arguments: rather set the variable (DLM_HTTP_TOKEN)"
    ),
    Flag.map((token) => ({ token, isArgument: true })),
    Flag.withFallbackConfig(
      Config.map(Config.Redacted("DLM_HTTP_TOKEN"), (token) => ({ token, isArgument: false }))
    ),
    Flag.optional
  ),
  json: Flags.json,
  limits: LimitFlags.flags
}

/** Which of several servers it is, where it is one of several. */
const shardOf = ({ shard, shards }: ServeFlags) => {
  if (Option.isNone(shard) && Option.isNone(shards)) return Effect.undefined
  if (Option.isNone(shard) || Option.isNone(shards)) {
    return Effect.fail(wrongUse("--shard says which server this is, and --shards which there are: give both"))
  }
  return Effect.mapError(
    Shard.make({ name: shard.value, of: shards.value.split(",") }),
    ({ problem }) => wrongUse(`--shards ${problem}`)
  )
}

type ServeFlags = Command.Command.Config.Infer<typeof flags>

const filesOf = (flags: ServeFlags): NodeTls.Files => ({
  ca: Option.getOrUndefined(flags.tlsCa),
  cert: Option.getOrUndefined(flags.tlsCert),
  key: Option.getOrUndefined(flags.tlsKey)
})

/** What to serve TLS with; undefined where no file is named. With authorities a client needs a certificate of theirs. */
const tlsOf = Effect.fnUntraced(function*(flags: ServeFlags) {
  const files = filesOf(flags)
  if (files.cert === undefined && files.key === undefined && files.ca === undefined) return undefined
  if (files.cert === undefined) return yield* wrongUse("to serve over TLS name --tls-cert and --tls-key")
  const read = yield* NodeTls.fromFiles(files)
  return { ...read, requestCert: files.ca !== undefined, rejectUnauthorized: files.ca !== undefined }
})

/** The identities of the folder, which can be read anew, or else of Config. */
const knownIdentities = Option.match({
  onNone: () =>
    Effect.map(
      Layer.build(Identities.layerConfig),
      (known) => ({ identities: Context.get(known, Identities.Identities), renew: undefined })
    ),
  onSome: (folder: string) => Identities.makeRenewable(Identities.makeDirectory(folder))
})

const reasonOf = (error: { readonly message: string }): string => error.message.replace(/\s+/g, " ")

/**
 * At each SIGHUP reads the files for TLS and the identities anew, opens the audit file anew, and says what it did. What cannot
 * be read stays as it was.
 */
const renewing = Effect.fnUntraced(function*<E extends { readonly message: string }, R>(
  flags: ServeFlags,
  renewals: ReadonlyArray<Queue.Queue<Tls.SecureContextOptions>>,
  renewIdentities: Effect.Effect<void, E, R> | undefined,
  audit: () => AuditFile | undefined
) {
  const files = filesOf(flags)
  const report = <E extends { readonly message: string }, R>(
    what: string,
    self: Effect.Effect<unknown, E, R>,
    done = "read"
  ) =>
    Effect.matchEffect(self, {
      onSuccess: () => Effect.logInfo(`SIGHUP: ${done} ${what} anew`),
      onFailure: (error) => Effect.logWarning(`SIGHUP: ${what} stay as they were: ${reasonOf(error)}`)
    })
  const hangups = yield* NodeProcess.hear("SIGHUP")
  const renew = Effect.gen(function*() {
    if (files.cert !== undefined) {
      yield* report(
        "the files for TLS",
        Effect.tap(
          NodeTls.fromFiles(files),
          (read) => Effect.forEach(renewals, (each) => Queue.offer(each, read), { discard: true })
        )
      )
    }
    if (renewIdentities !== undefined) yield* report("the identities", renewIdentities)
    const written = audit()
    if (written !== undefined) yield* report("the audit file", written.reopen, "opened")
    if (files.cert === undefined && renewIdentities === undefined && written === undefined) {
      yield* Effect.logInfo(
        "SIGHUP: there is nothing to read anew, since --tls-cert, --identities and --audit are not given"
      )
    }
  })
  return Effect.forever(Effect.andThen(Queue.take(hangups), renew))
})

/** Listens for the clients of the locks, and gives the address. */
const listen = Effect.fnUntraced(function*(
  flags: ServeFlags,
  tls: Effect.Success<ReturnType<typeof tlsOf>>,
  renewals: Stream.Stream<Tls.SecureContextOptions>
) {
  const { host, port } = flags
  const server = yield* Layer.build(
    tls === undefined ? NodeLockServer.layer({ host, port }) : NodeLockServer.layerTls({ host, port, tls, renewals })
  ).pipe(
    Effect.catchTag("SocketServerError", (error) => Effect.fail(cannotListen(host, port, error.reason.cause, "--port")))
  )
  return NetAddress.formatSocketAddress(Context.get(server, SocketServer.SocketServer).address)
})

/** With all that hangs: a store that is silent, and clients that take no answer. */
const endsWithin = "4 seconds"

/** A worker that does not end in time is ended by the process that has started it. Only where it is told alone, it has to do so. */
const workerEndsWithin = "5 seconds"

/** Serves the clients of the locks, as long as the scope lasts. */
const start = Effect.fnUntraced(function*(flags: ServeFlags) {
  const { host } = flags
  const shard = yield* shardOf(flags)
  const renewals = yield* Queue.unbounded<Tls.SecureContextOptions>()
  const httpRenewals = yield* Queue.unbounded<Tls.SecureContextOptions>()
  const tls = yield* tlsOf(flags)
  const { identities, renew } = yield* knownIdentities(flags.identities)
  // From now on it does not end the process.
  let audit: AuditFile | undefined
  const renewed = yield* renewing(flags, [renewals, httpRenewals], renew, () => audit)
  if (!isLoopback(host) && !flags.insecure && (tls === undefined || identities.maxDataCharacters === 0)) {
    return yield* wrongUse(
      `--host ${host} lets other machines in: add --tls-cert, --tls-key and --identities, ` +
        "or --insecure where the network itself keeps others out"
    )
  }
  const store = yield* StoreFlag.fromFlag(flags.store, flags)
  const history = yield* HistoryFlags.make(flags)
  const known = Context.make(Identities.Identities, identities)
  const lockServer = yield* Layer.build(LockServer.layer.pipe(Layer.provide(store.layer))).pipe(
    Effect.provideContext(known),
    Effect.provideService(Shard.Shard, shard),
    Effect.provideService(History.History, history)
  )
  audit = yield* HistoryFlags.auditing(flags, history, Context.get(lockServer, LockServer.LockServer))
  const listening = yield* listen(flags, tls, Stream.fromQueue(renewals)).pipe(
    store.isElsewhere ? Effect.provideService(SocketLockServer.Crowding, garbage.ofGateway()) : identity,
    Effect.provideContext(Context.merge(known, lockServer))
  )
  const serving = { listening, store: store.place, shard: shard?.shards.textOf(shard.name) }
  return { lockServer, renewed, serving, tls, renewals: Stream.fromQueue(httpRenewals) }
})

/** Serves in this process. */
const runAlone = Effect.fnUntraced(function*(flags: ServeFlags) {
  const { lockServer, renewals, renewed, serving, tls } = yield* start(flags)
  const shown = yield* Effect.provideContext(OperationsHttp.ofLockServer, lockServer)
  const ofPage = Context.get(lockServer, LockServer.LockServer)
  const http = yield* listenHttp({ ...flags, tls, renewals }, shown, ofPage)
  yield* announce(flags.json, { ...serving, http, workers: undefined, ...yield* givenOf(flags, false) })
  return yield* renewed
})

/** Serves by several workers. What of TLS is theirs they read themselves; this is for what the first process serves. */
const runWorkers = Effect.fnUntraced(function*(flags: ServeFlags, count: number) {
  const tls = Option.isNone(flags.httpToken) ? undefined : yield* tlsOf(flags)
  const renewals = yield* Queue.unbounded<Tls.SecureContextOptions>()
  // The workers say what cannot be read.
  const renew = tls === undefined
    ? Effect.void
    : Effect.ignore(Effect.flatMap(NodeTls.fromFiles(filesOf(flags)), (read) => Queue.offer(renewals, read)))
  return yield* Workers.run({ ...flags, tls, renewals: Stream.fromQueue(renewals) }, count, renew)
})

/** Serves as one of several workers. */
const runAsWorker = Effect.fnUntraced(function*(flags: ServeFlags, port: number) {
  const { lockServer, renewed, serving } = yield* start({ ...flags, port })
  yield* Effect.provideContext(Workers.begun(serving), lockServer)
  return yield* renewed
})

// Whoever knows it sees the names of all locks, so it is not to be guessed; and it is the value of a header.
const tokenText = /^[\x21-\x7e]{16,1024}$/

// What is wrong with it would be shown with its value, were it the flag's own check.
const checkToken = Effect.fnUntraced(function*({ http, httpToken }: ServeFlags) {
  if (Option.isNone(httpToken)) return
  const { isArgument, token } = httpToken.value
  if (!tokenText.test(Redacted.value(token))) {
    return yield* wrongUse(
      "--http-token (or DLM_HTTP_TOKEN) has 16 to 1024 printable characters of ASCII, and no spaces"
    )
  }
  // The variable may be there for other servers of the machine as well.
  if (isArgument && Option.isNone(http)) return yield* wrongUse("--http-token opens nothing without --http")
})

const run = Effect.fnUntraced(function*(flags: ServeFlags) {
  yield* checkToken(flags)
  // Being told to stop is how it ends, and no failure.
  yield* NodeProcess.setExitStatus(0)
  yield* NodeProcess.endWithin(endsWithin)
  return yield* Option.match(flags.workers, {
    onNone: () => runAlone(flags),
    onSome: (count) => runWorkers(flags, count)
  })
}, Effect.scoped)

const work = Effect.fnUntraced(function*(flags: ServeFlags, { number, port }: NonNullable<typeof Worker.here>) {
  yield* NodeProcess.setExitStatus(0)
  // A terminal tells them all, and so may a service manager.
  yield* NodeProcess.endWithin(workerEndsWithin, { isToldTwice: true })
  return yield* Effect.annotateLogs(runAsWorker(flags, port), { worker: number })
}, Effect.scoped)

/** Runs the server until the process is told to stop. */
export const serve = Command.make(
  "serve",
  flags,
  (flags) =>
    (Worker.here === undefined
      ? reporting(flags.json)(run(flags))
      : Workers.telling(reporting(false)(work(flags, Worker.here)))).pipe(
        Effect.provideService(Limits.Limits, LimitFlags.fromFlags(flags.limits)),
        flags.json ? Effect.provide(jsonLogs) : identity
      )
).pipe(
  Command.withDescription("Run the lock server, until it is told to stop"),
  Command.withExamples([
    { command: "dlm serve", description: `Listen on 127.0.0.1:${defaultPort}` },
    {
      command: "dlm serve --port 0 --identities ./identities",
      description: "Take a free port, and know some identities"
    },
    {
      command: "dlm serve --workers 4 --store redis://10.0.0.1",
      description: "Serve by four processes"
    },
    {
      command: "dlm serve --store sqlite:/var/lib/dlm/locks.db --http 9090",
      description: "Keep locks in a file, and show a page, metrics and health"
    }
  ])
)
