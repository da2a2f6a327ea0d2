/**
 * The flags that several subcommands share.
 */
import * as Argument from "effect/cli/Argument"
import * as Flag from "effect/cli/Flag"
import * as Config from "effect/Config"
import * as Duration from "effect/Duration"
import * as Effect from "effect/Effect"
import * as Layer from "effect/Layer"
import * as Option from "effect/Option"
import * as Path from "effect/Path"
import * as Schema from "effect/Schema"
import * as SchemaGetter from "effect/SchemaGetter"
import { identityConfig } from "../client/Options.ts"
import { DurationText } from "../lib/DurationText.ts"
import { withoutBrackets } from "../lib/HostText.ts"
import { maxPort } from "../lib/PortText.ts"
import { ServersText } from "../lib/ServersText.ts"
import * as NodeTalker from "../node/NodeTalker.ts"
import * as NodeTls from "../node/NodeTls.ts"
import { defaultPort } from "../protocol/Protocol.ts"
import * as Identities from "../server/Identities.ts"
import { Failed, status, wrongVariable } from "./Status.ts"

/** Text that is not empty: in a script an empty name or owner is most likely a variable that was never set. */
export const someText = Schema.String.check(Schema.isNonEmpty({ message: "Expected at least one character" }))

/** A host, such as `locks.example.org`, `::1` or `[::1]`. */
export const hostText = someText.pipe(
  Schema.decodeTo(Schema.String, {
    decode: SchemaGetter.transform(withoutBrackets),
    encode: SchemaGetter.passthrough()
  })
)

const host = Flag.String("host").pipe(
  Flag.withSchema(hostText),
  Flag.withDescription("Host of the lock server (DLM_HOST; 127.0.0.1)"),
  Flag.optional
)

export const portNumber = Schema.Int.check(Schema.isBetween({ minimum: 0, maximum: maxPort }))

export const port = Flag.Int("port").pipe(
  Flag.withSchema(portNumber),
  Flag.withDescription(`Port of the lock server (DLM_PORT; ${defaultPort})`),
  Flag.optional
)

export const json = Flag.Boolean("json").pipe(
  Flag.withDescription("Print one line of JSON"),
  Flag.withDefault(false)
)

/** The same, where there are more lines. */
export const jsonFor = (each: string): Flag.Flag<boolean> =>
  Flag.withDescription(json, `Print a line of JSON for each ${each}`)

/** Which names. */
export const prefix = Argument.String("prefix").pipe(
  Argument.withDescription("How the names begin; all names without it"),
  Argument.withDefault("")
)

/** A time, such as `500ms`; of a variable where the flag is not given. */
export const duration = (name: string, variable: string) =>
  Flag.String(name).pipe(Flag.withSchema(DurationText), Flag.withFallbackConfig(Config.schema(DurationText, variable)))

export const ttl = duration("ttl", "DLM_TTL").pipe(
  Flag.withDescription("Time to live of the lock or datum, such as 500ms, 30s, 5m (DLM_TTL; 30s)"),
  Flag.withDefault(Duration.seconds(30))
)

export const wait = duration("wait", "DLM_WAIT").pipe(
  Flag.withDescription("How long to wait for the lock, such as 10s (DLM_WAIT)")
)

export const label = Flag.String("label").pipe(
  Flag.withSchema(someText),
  Flag.withDescription("What the server may tell of the holder to all who ask: no secret (DLM_LABEL)"),
  Flag.withFallbackConfig(Config.NonEmptyString("DLM_LABEL")),
  Flag.optional
)

export const identity = Flag.File("identity", { mustExist: true }).pipe(
  Flag.withDescription(
    "File of the identity to present, as made by: dlm identity NAME (DLM_IDENTITY_NAME, DLM_IDENTITY_SECRET)"
  ),
  Flag.optional
)

const pemFile = (name: string, description: string) =>
  Flag.File(name, { mustExist: true }).pipe(Flag.withDescription(description), Flag.optional)

/** Where the lock server is, and over what to talk to it. */
export const server = {
  host,
  port,
  servers: Flag.String("servers").pipe(
    Flag.withSchema(ServersText),
    Flag.withDescription("Servers with a share of the names each, such as a=10.0.0.1:37373,b=10.0.0.2 (DLM_SERVERS)"),
    Flag.optional
  ),
  tls: Flag.Boolean("tls").pipe(
    Flag.withDescription("Talk over TLS (DLM_TLS)"),
    Flag.withDefault(false)
  ),
  tlsCa: pemFile("tls-ca", "Trust these authorities, in PEM; over TLS (DLM_TLS_CA)"),
  tlsCert: pemFile("tls-cert", "Our certificate, in PEM; over TLS (DLM_TLS_CERT)"),
  tlsKey: pemFile("tls-key", "Its private key, in PEM (DLM_TLS_KEY)")
}

/** The files for TLS: of each flag that is given, and of Config for the others. */
const filesOf = (flags: ServerFlags, config: NodeTls.Files | undefined): NodeTls.Files | undefined => {
  const files: NodeTls.Files = {
    ca: Option.getOrElse(flags.tlsCa, () => config?.ca),
    cert: Option.getOrElse(flags.tlsCert, () => config?.cert),
    key: Option.getOrElse(flags.tlsKey, () => config?.key)
  }
  return flags.tls || config !== undefined || Object.values(files).some((name) => name !== undefined)
    ? files
    : undefined
}

/** The values of the flags in `server`. */
export interface ServerFlags {
  readonly host: Option.Option<string>
  readonly port: Option.Option<number>
  readonly servers: Option.Option<typeof ServersText.Type>
  readonly tls: boolean
  readonly tlsCa: Option.Option<string>
  readonly tlsCert: Option.Option<string>
  readonly tlsKey: Option.Option<string>
}

/** Where the flags and Config say that the server is, and over what to talk to it. */
export const address = (flags: ServerFlags) =>
  Config.all([NodeTalker.config, NodeTls.config]).pipe(
    Effect.catch(wrongVariable),
    Effect.tap(() =>
      Option.isSome(flags.servers) && (Option.isSome(flags.host) || Option.isSome(flags.port))
        ? new Failed({
          status: status.usage,
          error: "WrongUse",
          message: "--servers says where all servers are: leave --host and --port out, or --servers"
        })
        : Effect.void
    ),
    Effect.map(([config, files]) => ({
      ...config,
      host: Option.getOrElse(flags.host, () => config.host ?? defaultHost),
      port: Option.getOrElse(flags.port, () => config.port ?? defaultPort),
      servers: Option.getOrElse(
        flags.servers,
        // Who names one server by a flag means that one. It refuses the names that it has not.
        () => Option.isSome(flags.host) || Option.isSome(flags.port) ? undefined : config.servers
      ),
      files: filesOf(flags, files)
    }))
  )

const defaultHost = "127.0.0.1"

/** Talks to where the flags and Config say that the server is, as long as the scope lasts. */
export const talker = (flags: ServerFlags) =>
  Effect.flatMap(address(flags), ({ files, ...options }) => Layer.build(NodeTalker.layerFiles(options, files)))

/** The identity in the file, or else that of Config, if there is one. */
export const presentedIdentity = Effect.fnUntraced(function*(file: Option.Option<string>) {
  if (Option.isNone(file)) return yield* identityConfig
  const path = yield* Path.Path
  return {
    name: path.basename(file.value, Identities.fileExtension),
    secret: yield* Identities.readSecret(file.value)
  }
})
