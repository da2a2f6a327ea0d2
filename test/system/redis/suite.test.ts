import { describeWith } from "../../support/programs.ts"
import * as redisServer from "../../support/redisServer.ts"
import { storeSuite } from "../../support/storeSuite.ts"

describeWith("the Redis store, over a Redis that keeps nothing", redisServer.needed, () => {
  storeSuite({ start: redisServer.server(), durable: false })
})

describeWith("the Redis store, over a Redis that keeps all", redisServer.needed, () => {
  storeSuite({ start: redisServer.server({ durable: true }), durable: true })
})
