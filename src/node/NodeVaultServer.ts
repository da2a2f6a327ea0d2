/**
 * The server over TCP and TLS, on Node.
 */
import * as NodeSocketServer from "@effect/platform-node/NodeSocketServer"
import * as Layer from "effect/Layer"
import type * as SocketServer from "effect/socket/SocketServer"
import type * as Tls from "node:tls"
import { defaultPort } from "../Protocol.ts"
import type { Identities } from "../vault/Identities.ts"
import type { Vault } from "../vault/Vault.ts"
import * as VaultServer from "../vault/VaultServer.ts"

/** Where to listen. */
export interface Options {
  /** By default `127.0.0.1`: this machine only. */
  readonly host?: string | undefined
  /** By default 37373; 0 takes a free one. */
  readonly port?: number | undefined
}

// An answer is still owed to a client that has ended its side.
const listen = (options: Options) => ({
  host: options.host ?? "127.0.0.1",
  port: options.port ?? defaultPort,
  allowHalfOpen: true,
  noDelay: true
})

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
  VaultServer.layer.pipe(Layer.provideMerge(NodeSocketServer.layer(listen(options))))

/** Serves a Vault over TLS, 1.2 or later. */
export const layerTls = (
  options: Options & { readonly tls: Tls.TlsOptions }
): Layer.Layer<SocketServer.SocketServer, SocketServer.SocketServerError, Vault | Identities> =>
  VaultServer.layer.pipe(
    Layer.provideMerge(NodeSocketServer.layerTls({ minVersion: "TLSv1.2", ...options.tls, ...listen(options) }))
  )
