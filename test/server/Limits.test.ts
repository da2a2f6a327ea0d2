import { assert, describe, it } from "@effect/vitest"
import { Duration } from "effect"
import { Limits } from "effect-dlm/server"

describe("the limits", () => {
  it("are by default what is documented", () => {
    assert.deepStrictEqual(Limits.defaults, {
      maxTtl: Duration.seconds(3543),
      maxNameBytes: 512,
      maxOwnerBytes: 1024,
      maxDataCharacters: 16_384,
      minIdentityCharacters: 1023,
      maxJsonDepth: 32,
      maxAnonymousLineBytes: 65_536,
      maxLineBytes: 10_485_760,
      maxInFlightBytes: 33_554_432,
      maxConnections: 1024,
      maxConnectionsPerAddress: 256,
      maxLingering: 4,
      maxRunning: 1024,
      maxWaiting: 2048,
      maxWaitingPerAddress: 512,
      maxUnsentBytes: 262_144,
      requestTimeout: Duration.seconds(5),
      writeTimeout: Duration.seconds(5),
      maxWaitingSilence: Duration.seconds(15),
      maxIdle: Duration.seconds(90)
    })
  })
})
