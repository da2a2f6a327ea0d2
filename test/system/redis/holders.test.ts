import { Effect, Layer } from "effect"
import { afterAll } from "vitest"
import { holderSuite } from "../../support/holderSuite.ts"
import { describeWith } from "../../support/programs.ts"
import * as redisServer from "../../support/redisServer.ts"

describeWith("the Redis store", redisServer.needed, () => {
  const shared = redisServer.shared()
  afterAll(() => shared.stop())
  const layer = Layer.unwrap(Effect.map(shared.server, ({ layer }) => layer))
  holderSuite(layer)
})
