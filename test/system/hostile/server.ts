/**
 * A server in a process of its own, with limits as they are said:
 *
 *     node test/hostile/serve.ts '{"maxConnections":5000}'
 *
 * Prints its port. Durations are in milliseconds.
 */
import { Duration, Effect, Layer, Logger } from "effect"
import { SocketServer } from "effect/socket"
import * as NodeLockServer from "../../../src/node/NodeLockServer.ts"
import * as Identities from "../../../src/server/Identities.ts"
import * as Limits from "../../../src/server/Limits.ts"
import * as LockServer from "../../../src/server/LockServer.ts"
import * as Store from "../../../src/store/Store.ts"

/** The limits that tests set. */
export interface Options {
  readonly maxConnections?: number
  readonly maxConnectionsPerAddress?: number
  readonly requestTimeout?: number
  readonly writeTimeout?: number
}

const limitsOf = ({ requestTimeout, writeTimeout, ...counts }: Options): Partial<Limits.Limits> => ({
  ...counts,
  ...(requestTimeout === undefined ? {} : { requestTimeout: Duration.millis(requestTimeout) }),
  ...(writeTimeout === undefined ? {} : { writeTimeout: Duration.millis(writeTimeout) })
})

const server = NodeLockServer.layer({ port: 0 }).pipe(
  Layer.provide(LockServer.layer),
  Layer.provide([Store.layerMemory, Identities.layerNone]),
  Layer.provide([Limits.layer(limitsOf(JSON.parse(process.argv[2] ?? "{}"))), Logger.layer([])])
)
const program = Effect.gen(function*() {
  const { address } = yield* SocketServer.SocketServer
  if (address._tag === "UnixPathAddress") return yield* Effect.die("no port")
  console.log(address.port)
  return yield* Effect.never
})
Effect.runFork(Effect.provide(program, server))
