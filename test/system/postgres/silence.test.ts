import { PgClient } from "@effect/sql-pg"
import { assert, it } from "@effect/vitest"
import { Context, Duration, Effect, Exit, Fiber, Layer, Queue, Redacted, Schedule, Scope, Stream } from "effect"
import { PostgresStore } from "effect-dlm/postgres"
import { Store } from "effect-dlm/server"
import { afterAll, beforeAll } from "vitest"
import { forward } from "../../support/forward.ts"
import { postgresServer, programs } from "../../support/postgresServer.ts"
import { describeWith, freePort } from "../../support/programs.ts"

type Server = Effect.Success<typeof postgresServer>
type Instance = Store.Store["Service"]

const take = (store: Instance, name: string, owner: string, waits = false) =>
  store.modify(name, (found): Store.Decision<boolean> =>
    found === undefined || found.owner === owner
      ? {
        answer: true,
        change: { _tag: "Write", entry: { owner, identity: undefined, data: undefined }, ttlMillis: 600_000 }
      }
      : { answer: false, change: { _tag: "Keep" } }, { owner, identity: undefined, waits })

const free = (store: Instance, name: string, owner: string) =>
  store.modify(name, () => ({ answer: undefined, change: { _tag: "Remove" } }), {
    owner,
    identity: undefined,
    waits: false
  })

const untilBack = Effect.retry({ schedule: Schedule.spaced("20 millis"), times: 1000 })

describeWith("connections to Postgres that go silent without an end", programs, () => {
  const scope = Scope.makeUnsafe()
  let server: Server
  beforeAll(() => Effect.runPromise(Effect.map(Scope.provide(postgresServer, scope), (its) => void (server = its))))
  afterAll(() => Effect.runPromise(Scope.close(scope, Exit.void)))

  /** A store whose connections go a way of their own, and as many of them as the pool has. */
  const opened = Effect.fnUntraced(function*(schema: string) {
    const port = yield* freePort
    const way = yield* forward(port, server.port)
    const url = Redacted.make(Redacted.value(server.url).replace(`:${server.port}/`, `:${port}/`))
    const layer = PostgresStore.layerUrl({ url, schema, timeout: "1 second" })
    const own = yield* Scope.make()
    const store = Context.get(yield* Scope.provide(Layer.build(Layer.fresh(layer)), own), Store.Store)
    const many = Effect.forEach(
      Array.from({ length: 200 }, (_, i) => `name ${i}`),
      (name) => take(store, name, "me"),
      { concurrency: "unbounded" }
    )
    yield* many
    return { store, way, many, close: Scope.close(own, Exit.void) }
  })

  it.live("are left after one time-out, all of them", () =>
    Effect.gen(function*() {
      const { close, many, store, way } = yield* opened("left")
      assert.isAbove(way.silence(), 5)
      const first = yield* Effect.flip(take(store, "name", "me"))
      assert.strictEqual(first.reason, "Timeout")
      const [took] = yield* Effect.timed(untilBack(Effect.andThen(take(store, "name", "me"), many)))
      assert.isBelow(Duration.toMillis(took), 3000)
      yield* close
    }).pipe(Effect.scoped), 20_000)

  it.live("do not hold up the end of the store", () =>
    Effect.gen(function*() {
      const { close, store, way } = yield* opened("ended")
      way.silence()
      const asked = yield* Effect.forkChild(Effect.exit(take(store, "name", "me")), { startImmediately: true })
      yield* Effect.repeat(Effect.sync(way.swallowed), {
        until: (count) => count > 0,
        schedule: Schedule.spaced("10 millis")
      })
      const [took] = yield* Effect.timed(close)
      assert.isBelow(Duration.toMillis(took), 3000)
      assert.isTrue(Exit.isFailure(yield* Fiber.join(asked)))
    }).pipe(Effect.scoped), 20_000)

  it.live("are no way to hear of releases: that begins anew", () =>
    Effect.gen(function*() {
      const { close, store, way } = yield* opened("heard")
      const heard = yield* Stream.toQueue(store.sharing!.freed, { capacity: "unbounded" })
      const direct = Context.get(
        yield* Layer.build(Layer.fresh(PostgresStore.layerUrl({ url: server.url, schema: "heard" }))),
        Store.Store
      )
      const frees = Effect.gen(function*() {
        yield* take(direct, "freed", "other")
        yield* untilBack(take(store, "freed", "waiter", true))
        yield* free(direct, "freed", "other")
      })
      const hears = Effect.raceFirst(
        Queue.take(heard),
        Effect.forever(Effect.andThen(frees, Effect.sleep("50 millis")))
      )
      yield* hears
      way.silence()
      yield* Queue.clear(heard)
      yield* Effect.timeout(hears, "12 seconds")
      yield* close
    }).pipe(Effect.scoped), 30_000)

  it.live("are not missed where a server may only be read: it is left", () =>
    Effect.gen(function*() {
      const { close, store } = yield* opened("primary")
      const alter = (its: "on" | "off") =>
        Effect.flatMap(PgClient.PgClient, (sql) =>
          sql.unsafe(`ALTER ROLE postgres SET default_transaction_read_only = ${its}`)).pipe(
            Effect.provide(PgClient.layer({
              url: server.url,
              startupParameters: { default_transaction_read_only: "off" }
            }))
          )
      const terminate = Effect.flatMap(PgClient.PgClient, (sql) =>
        sql`SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE pid <> pg_backend_pid() AND datname IS NOT NULL`)
        .pipe(Effect.provide(PgClient.layer({ url: server.url })))
      yield* alter("on")
      yield* terminate
      // Its sessions are read-only now, for as long as they live.
      const refusal = yield* Effect.flip(take(store, "name", "me")).pipe(
        Effect.repeat({
          until: ({ message }) =>
            message.includes("read-only"),
          schedule: Schedule.spaced("20 millis")
        })
      )
      assert.strictEqual(refusal.reason, "Failed")
      yield* alter("off")
      yield* Effect.timeout(untilBack(take(store, "name", "me")), "5 seconds")
      yield* close
    }).pipe(Effect.scoped), 20_000)
})
