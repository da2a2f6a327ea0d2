/**
 * `dlm serve` over the stores of others, as real servers.
 */
import { assert, it } from "@effect/vitest"
import { Effect, Schedule } from "effect"
import * as Certificates from "../../support/certificates.ts"
import * as programs from "../../support/programs.ts"
import * as redisServer from "../../support/redisServer.ts"
import { assertFails, dlm, serve, startDlm } from "./processes.ts"

const user = (port: number, ...rules: ReadonlyArray<string>) =>
  redisServer.ask(port, "ACL", "SETUSER", "locks", "on", ">p@ss/word", "~dlm*", "+@all", ...rules)

programs.describeWith("dlm serve over Redis", redisServer.needed, () => {
  it.live("follows the master that the Sentinels name, and shows no password", () =>
    Effect.gen(function*() {
      const { master, replicas, sentinels } = yield* redisServer.sentinels
      yield* Effect.forEach([master, ...replicas], ({ port }) => user(port, "&dlm*"))
      const hosts = sentinels.map(({ port }) => `127.0.0.1:${port}`).join(",")
      const server = yield* serve("--store", `redis+sentinel://locks:p%40ss%2Fword@${hosts}/mymaster`)
      const [, place] = yield* server.process.prints(/^\{.*"store":"(.*)"\}$/m)
      assert.strictEqual(place, `redis+sentinel://${hosts}/mymaster`)
      assert.strictEqual((yield* server.dlm(["lock", "before", "--id", "me"])).status, 0)
      assert.include(yield* redisServer.ask(master.port, "EXISTS", "dlm=before"), ":1")
      yield* master.kill
      const locker = yield* server.locker("after", "me")
      yield* Effect.retry(locker.lock, { schedule: Schedule.spaced("100 millis"), times: 300 })
      const held = yield* Effect.forEach(replicas, ({ port }) => redisServer.ask(port, "HGET", "dlm=after", "owner"))
      assert.isTrue(held.some((owner) => owner.includes("=me")), held.join())
      assert.strictEqual((yield* server.dlm(["lock", "after", "--id", "other"])).status, 75)
    }), 180_000)

  it.live("warns that it hears nothing of what others free", () =>
    Effect.gen(function*() {
      const { port } = yield* redisServer.server()
      yield* user(port, "resetchannels")
      const server = yield* serve("--store", `redis://locks:p%40ss%2Fword@127.0.0.1:${port}`)
      yield* redisServer.ask(port, "INFO", "commandstats").pipe(
        Effect.repeat({
          until: (stats) => Number(/cmdstat_subscribe:.*rejected_calls=(\d+)/.exec(stats)?.[1] ?? 0) >= 5,
          schedule: Schedule.spaced("20 millis")
        })
      )
      yield* server.process.signal("SIGTERM")
      const { stderr } = yield* server.process.ended
      assert.strictEqual(stderr.match(/is not heard of/g)?.length, 1)
      assert.match(stderr, /NOPERM.*allow its user the channel dlm:freed/)
      assert.notMatch(stderr, /p@ss|p%40ss/)
    }), 120_000)

  it.live("talks TLS with rediss, to a certificate that Node trusts alone", () =>
    Effect.gen(function*() {
      const { ca, server: its } = yield* Certificates.make(yield* programs.temporaryFolder("tls"))
      const tls = yield* programs.freePort
      const redis = yield* redisServer.server({
        args: [
          "--tls-port",
          String(tls),
          "--tls-cert-file",
          its.cert,
          "--tls-key-file",
          its.key,
          "--tls-ca-cert-file",
          ca,
          "--tls-auth-clients",
          "no"
        ]
      })
      const flags = ["serve", "--port", "0", "--store", `rediss://127.0.0.1:${tls}`]
      assertFails(yield* dlm(flags), 69, /redis store failed \(.*certificate/)
      const server = yield* startDlm(flags, { env: { NODE_EXTRA_CA_CERTS: ca } })
      const [, port] = yield* server.prints(/^dlm: listening on 127\.0\.0\.1:(\d+)\ndlm: locks are kept in rediss:/m)
      assert.strictEqual((yield* dlm(["lock", "f", "--id", "me", "--port", port!])).status, 0)
      assert.include(yield* redisServer.ask(redis.port, "EXISTS", "dlm=f"), ":1")
    }), 120_000)
})
