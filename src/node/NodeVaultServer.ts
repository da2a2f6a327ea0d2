/**
 * The server over TCP and TLS, on Node.
 */
import * as NodeSocket from "@effect/platform-node/NodeSocket"
import * as NodeSocketServer from "@effect/platform-node/NodeSocketServer"
import * as Duration from "effect/Duration"
import * as Effect from "effect/Effect"
import * as Layer from "effect/Layer"
import * as Option from "effect/Option"
import type * as SocketServer from "effect/socket/SocketServer"
import type * as Tls from "node:tls"
import { defaultPort } from "../Protocol.ts"
import type { Identities } from "../vault/Identities.ts"
import { Limits } from "../vault/Limits.ts"
import type { Vault } from "../vault/Vault.ts"
import * as VaultServer from "../vault/VaultServer.ts"

/** Where to listen. */
export interface Options {
  /** By default `127.0.0.1`: this machine only. */
  readonly host?: string | undefined
  /** By default 37373; 0 takes a free one. */
  readonly port?: number | undefined
}

const listen = (options: Options) => ({
  host: options.host ?? "127.0.0.1",
  port: options.port ?? defaultPort,
  // An answer is still owed to a client that has ended its side.
  allowHalfOpen: true,
  noDelay: true,
  // A write is over once the network has taken it all, so its deadline is for the whole of it.
  highWaterMark: 1
})

// The socket of the connection is in the context of what handles it.
const clientAddress = Layer.succeed(
  VaultServer.ClientAddress,
  Effect.map(Effect.serviceOption(NodeSocket.NetSocket), (socket) => Option.getOrUndefined(socket)?.remoteAddress)
)

const vaultServer = VaultServer.layer.pipe(Layer.provide(clientAddress))

/**
 * Serves a Vault over TCP. The layer gives the SocketServer too, whose
 * `address` says where it listens.
 *
 * @example
 * ```ts
 * import { Layer } from "effect"
 * import { NodeVaultServer } from "effect-dlm/node"
 * import { Identities, Store, Vault } from "effect-dlm/vault"
 *
 * const server = NodeVaultServer.layer({ port: 0 }).pipe(
 *   Layer.provide(Vault.layer),
 *   Layer.provide([Store.layerMemory, Identities.layerNone])
 * )
 * ```
 */
export const layer = (
  options: Options = {}
): Layer.Layer<SocketServer.SocketServer, SocketServer.SocketServerError, Vault | Identities> =>
  vaultServer.pipe(Layer.provideMerge(NodeSocketServer.layer(listen(options))))

/**
 * Serves a Vault over TLS, 1.2 or later. With `requestCert` and a `ca` only those are let in who have a certificate
 * of that authority. A handshake may take as long as a request.
 */
export const layerTls = (
  options: Options & { readonly tls: Tls.TlsOptions }
): Layer.Layer<SocketServer.SocketServer, SocketServer.SocketServerError, Vault | Identities> =>
  Layer.unwrap(Effect.map(Limits, ({ requestTimeout }) =>
    vaultServer.pipe(
      Layer.provideMerge(NodeSocketServer.layerTls({
        minVersion: "TLSv1.2",
        handshakeTimeout: Duration.toMillis(requestTimeout),
        ...options.tls,
        ...listen(options)
      }))
    )))
