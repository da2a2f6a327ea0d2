import { describe } from "@effect/vitest"
import { Context, Effect, Layer } from "effect"
import { NodeLockServer, NodeTalker } from "effect-dlm/node"
import { Identities, LockServer } from "effect-dlm/server"
import { SocketServer } from "effect/socket"
import { contract } from "../support/contract.ts"
import * as Double from "../support/SocketDouble.ts"

const lockServer = LockServer.layerMemory

describe("a LockServer in the same process", () => contract(LockServer.layerTalker.pipe(Layer.provide(lockServer))))

describe("the server over TCP", () =>
  contract(Layer.unwrap(Effect.gen(function*() {
    const context = yield* Layer.build(
      NodeLockServer.layer({ port: 0 }).pipe(Layer.provide([lockServer, Identities.layerNone]))
    )
    const { address } = Context.get(context, SocketServer.SocketServer)
    return NodeTalker.layer({ port: address._tag === "InetAddressV4" ? address.port : 0 })
  }))))

describe("a double that closes after each answer, as the reference does", () =>
  contract(Layer.unwrap(Effect.gen(function*() {
    const { handle } = Context.get(yield* Layer.build(lockServer), LockServer.LockServer)
    const double = Double.oneAnswer((request) => Effect.runSync(handle(request)))
    return Double.layer(double)
  }))))
