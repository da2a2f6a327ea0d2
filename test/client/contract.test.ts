import { describe } from "@effect/vitest"
import { Context, Effect, Layer } from "effect"
import { LockServer } from "effect-dlm/server"
import { contract } from "../support/contract.ts"
import * as Double from "../support/SocketDouble.ts"

const lockServer = LockServer.layerMemory

describe("a LockServer in the same process", () => contract(LockServer.layerTalker.pipe(Layer.provide(lockServer))))

describe("a double that closes after each answer, as the reference does", () =>
  contract(Layer.unwrap(Effect.gen(function*() {
    const { handle } = Context.get(yield* Layer.build(lockServer), LockServer.LockServer)
    const double = Double.oneAnswer((request) => Effect.runSync(handle(request)))
    return Double.layer(double)
  }))))
