import { describe } from "@effect/vitest"
import { Context, Effect, Layer } from "effect"
import { Talker } from "effect-dlm"
import { NodeTalker, NodeVaultServer } from "effect-dlm/node"
import { Identities, Vault } from "effect-dlm/server"
import { SocketServer } from "effect/socket"
import { contract } from "../support/contract.ts"
import * as Double from "../support/SocketDouble.ts"

const vault = Vault.layerMemory

describe("a Vault in the same process", () => contract(Talker.layerVault.pipe(Layer.provide(vault))))

describe("the server over TCP", () =>
  contract(Layer.unwrap(Effect.gen(function*() {
    const context = yield* Layer.build(
      NodeVaultServer.layer({ port: 0 }).pipe(Layer.provide([vault, Identities.layerNone]))
    )
    const { address } = Context.get(context, SocketServer.SocketServer)
    return NodeTalker.layer({ port: address._tag === "InetAddressV4" ? address.port : 0 })
  }))))

describe("a double that closes after each answer, as the reference does", () =>
  contract(Layer.unwrap(Effect.gen(function*() {
    const { handle } = Context.get(yield* Layer.build(vault), Vault.Vault)
    const double = Double.oneAnswer((request) => Effect.runSync(handle(request)))
    return Double.layer(double)
  }))))
