/**
 * A LockServer behind sockets: the server.
 */
import * as Context from "effect/Context"
import * as Effect from "effect/Effect"
import * as Layer from "effect/Layer"
import * as Metric from "effect/Metric"
import * as SocketServer from "effect/socket/SocketServer"
import { networkOf } from "./Address.ts"
import { Admission } from "./Admission.ts"
import * as Connection from "./Connection.ts"
import type { Identities } from "./Identities.ts"
import type { LockServer } from "./LockServer.ts"
import * as Metrics from "./Metrics.ts"
import * as Shared from "./Shared.ts"

/** The address that a connection comes from, where the platform tells it. Its limit is per address then. */
export const ClientAddress: Context.Reference<Effect.Effect<string | undefined>> = Context.Reference<
  Effect.Effect<string | undefined>
>("effect-dlm/server/SocketLockServer/ClientAddress", { defaultValue: () => Effect.undefined })

/** Told how many connections are open, whenever one has come or gone. By default nobody is. */
export const Crowding: Context.Reference<(connections: number) => void> = Context.Reference<
  (connections: number) => void
>("effect-dlm/server/SocketLockServer/Crowding", { defaultValue: () => () => {} })

/**
 * Serves the LockServer on the SocketServer that is provided, until interrupted.
 *
 * A request with a `Seq` leaves its connection open for more, which are
 * answered in any order, each with its own; after the answer to one without,
 * the connection is closed. Whatever arrives, the server lives on: what is no
 * request is answered `BadPayload`, counted, and logged once in a thousand,
 * without any part of it.
 */
export const run: Effect.Effect<
  never,
  SocketServer.SocketServerError,
  LockServer | Identities | SocketServer.SocketServer
> = Effect.flatMap(Shared.make, (shared) => serving(shared))

const serving = Effect.fnUntraced(function*(shared: Shared.Shared) {
  const server = yield* SocketServer.SocketServer
  const clientAddress = yield* ClientAddress
  const admission = new Admission(shared.limits, yield* Crowding)
  yield* Effect.forkChild(shared.runQueue.run)

  return yield* server.run((socket) =>
    Effect.flatMap(clientAddress, (address) => {
      const leave = shared.stopping.isStopping ? undefined : admission.admit(address)
      if (leave === undefined) {
        return Effect.andThen(Metric.update(Metrics.refusedConnections, 1), Effect.scoped(socket.reader))
      }
      shared.runQueue.welcome()
      Metrics.connections.modifyUnsafe(1, shared.context)
      return Connection.serve(shared, socket, address === undefined ? undefined : networkOf(address)).pipe(
        // A client that goes away is no event: its connection is over, and that is all.
        Effect.catchTag("SocketError", () => Effect.void),
        Effect.ensuring(Effect.sync(() => {
          Metrics.connections.modifyUnsafe(-1, shared.context)
          leave()
        }))
      )
    })
  )
})

/**
 * Serves the LockServer in the background, as long as the layer lives. As it closes, those who wait are answered `NO`, what
 * is worked on has a second to end, and then every connection is ended, whether its client takes its answers or not.
 */
export const layer: Layer.Layer<never, never, LockServer | Identities | SocketServer.SocketServer> = Layer
  .effectDiscard(Effect.gen(function*() {
    const shared = yield* Shared.make
    yield* Effect.forkScoped(Effect.orDie(serving(shared)))
    yield* Effect.addFinalizer(() => shared.stopping.stop)
  }))
