/**
 * `dlm serve`: the server.
 */
import * as Command from "effect/cli/Command"
import * as Flag from "effect/cli/Flag"
import * as Console from "effect/Console"
import * as Effect from "effect/Effect"
import * as Layer from "effect/Layer"
import * as NetAddress from "effect/net/NetAddress"
import * as Option from "effect/Option"
import * as SocketServer from "effect/socket/SocketServer"
import * as NodeProcess from "../node/NodeProcess.ts"
import * as NodeVaultServer from "../node/NodeVaultServer.ts"
import { defaultPort } from "../Protocol.ts"
import * as Identities from "../vault/Identities.ts"
import * as Vault from "../vault/Vault.ts"
import * as Flags from "./Flags.ts"
import { Failed, reporting, status } from "./Status.ts"
import * as StoreFlag from "./store.ts"

const identities = Flag.Directory("identities", { mustExist: true }).pipe(
  Flag.withDescription("Folder of the identities that may hold longer and store more (or DLM_IDENTITIES, as JSON)"),
  Flag.optional
)

export const serve = Command.make("serve", {
  host: Flag.String("host").pipe(Flag.withDescription("Address to listen on"), Flag.withDefault("127.0.0.1")),
  port: Flags.port.pipe(Flag.withDescription(`Port to listen on, 0 for a free one (${defaultPort})`)),
  identities,
  store: StoreFlag.flag,
  json: Flags.json
}, (flags) =>
  Effect.gen(function*() {
    // Being told to stop is how it ends, and no failure.
    yield* NodeProcess.setExitStatus(0)
    const port = Option.getOrElse(flags.port, () => defaultPort)
    const server = yield* Layer.build(
      NodeVaultServer.layer({ host: flags.host, port }).pipe(
        Layer.provide(Vault.layer),
        Layer.provide([
          yield* StoreFlag.fromFlag(flags.store),
          Option.match(flags.identities, { onNone: () => Identities.layerConfig, onSome: Identities.layerDirectory })
        ])
      )
    ).pipe(
      Effect.catchTag("SocketServerError", (error) =>
        Effect.fail(
          new Failed({
            status: status.system,
            error: error._tag,
            message: `cannot listen on ${flags.host}:${port} (${String((error.reason.cause as Error).message)}). ` +
              "Choose another address with --host and --port, or 0 for a free port"
          })
        ))
    )
    const { address } = yield* Effect.provideContext(SocketServer.SocketServer, server)
    const where = NetAddress.formatSocketAddress(address)
    yield* Console.log(
      flags.json ? JSON.stringify({ listening: where }) : `dlm: listening on ${where}`
    )
    return yield* Effect.never
  }).pipe(Effect.scoped, reporting(flags.json))).pipe(
    Command.withDescription("Run the lock server, until it is told to stop"),
    Command.withExamples([
      { command: "dlm serve", description: `Listen on 127.0.0.1:${defaultPort}` },
      {
        command: "dlm serve --port 0 --identities ./identities",
        description: "Take a free port, and know some identities"
      }
    ])
  )
