import { describe } from "@effect/vitest"
import { Context, Effect, Layer } from "effect"
import { NodeLockServer, NodeTalker } from "effect-dlm/node"
import { Identities, LockServer } from "effect-dlm/server"
import { SocketServer } from "effect/socket"
import { contract } from "../support/contract.ts"

describe("the server over TCP", () =>
  contract(
    Layer.unwrap(Effect.gen(function*() {
      const context = yield* Layer.build(
        NodeLockServer.layer({ port: 0 }).pipe(Layer.provide([LockServer.layerMemory, Identities.layerNone]))
      )
      const { address } = Context.get(context, SocketServer.SocketServer)
      return NodeTalker.layer({ port: address._tag === "InetAddressV4" ? address.port : 0 })
    })),
    { excludeTestServices: true }
  ))
