/**
 * The URLs of the stores: what each says, and that one which cannot be read is refused without being shown.
 */
import { assert, describe, it } from "@effect/vitest"
import { Redacted, Result } from "effect"
import * as EtcdUrl from "../../src/etcd/url.ts"
import * as PostgresUrl from "../../src/postgres/url.ts"
import * as RedisUrl from "../../src/redis/url.ts"
import * as SqliteUrl from "../../src/sqlite/url.ts"
import type { StoreUrlError } from "../../src/StoreError.ts"

const at = <A>(parse: (url: Redacted.Redacted) => Result.Result<A, StoreUrlError>, url: string) =>
  parse(Redacted.make(url))

const postgres = (url: Redacted.Redacted) => PostgresUrl.parse(url, "url")

const cases: ReadonlyArray<{
  readonly store: string
  readonly parse: (url: Redacted.Redacted) => Result.Result<unknown, StoreUrlError>
  readonly right: ReadonlyArray<string>
  readonly wrong: ReadonlyArray<string>
}> = [
  {
    store: "sqlite",
    parse: SqliteUrl.parse,
    right: [
      "sqlite:a.db",
      "sqlite:/var/a b#c.db",
      "sqlite:a.db?synchronous=full",
      "sqlite:a.db?synchronous=normal",
      "sqlite:./:memory:"
    ],
    wrong: [
      "",
      "sqlite:",
      "a.db",
      "sqlite:?synchronous=full",
      "sqlite:canary?synchronous=bad",
      "sqlite:canary?",
      "sqlite::memory:",
      "sqlite::memory:?synchronous=full",
      "sqlite:file::memory:?cache=shared"
    ]
  },
  {
    store: "redis",
    parse: RedisUrl.parse,
    right: [
      "redis://host",
      "redis://host/",
      "redis://host:1/7",
      "rediss://u:p%40@[::1]:1/7",
      "redis://:p@host",
      "unix:///run/redis.sock",
      "unix://u:p@/run/redis.sock",
      "redis+sentinel://a,b:1,[::1]:2/main",
      "rediss+sentinel://u:p%40@a/main"
    ],
    wrong: [
      "redis:canary",
      "http://u:canary@host",
      "redis://u:canary@host:port",
      "redis://u:canary%zz@host",
      "redis://u:12#canary@host",
      "redis://u:canary@host/0/1",
      "redis://u:canary@host?db=1",
      "unix://canary",
      "redis+sentinel://u:canary@host",
      "redis+sentinel://u:canary@host/main/0",
      "redis+sentinel://u:canary@host:65536/main"
    ]
  },
  {
    store: "postgres",
    parse: postgres,
    right: ["postgres://host", "postgresql://u:p%40@host:5432/db?sslmode=require", "postgres:///db?host=/run"],
    wrong: ["postgres:canary", "mysql://u:canary@host/db", "postgres://u:canary@[/", "postgres://u:canary%@host/db"]
  },
  {
    store: "etcd",
    parse: EtcdUrl.parse,
    right: ["etcd://host", "etcds://u:p%40@a:1,b,[::1]:2/locks"],
    wrong: ["etcd://", "redis://canary", "etcd://u:ca@nary@host", "etcd://u:canary%f@host", "etcd://u:canary@host:port"]
  }
]

describe("a URL of a store", () => {
  for (const { parse, right, store, wrong } of cases) {
    for (const url of right) it(`is read: ${url}`, () => assert.isTrue(Result.isSuccess(at(parse, url))))
    for (const url of wrong) {
      it(`is refused by the ${store} store: ${url}`, () => {
        const error = Result.getOrThrow(Result.flip(at(parse, url)))
        assert.strictEqual(error.store, store)
        assert.isFalse(error.isRetryable)
        assert.include(error.message, `the url of the ${store} store cannot be read. Write it as ${store}`)
        assert.notMatch(JSON.stringify(error) + String(error.stack), /canary|ca@nary/)
      })
    }
  }

  it("names a file, and how safe it is", () => {
    assert.deepStrictEqual(Result.getOrThrow(at(SqliteUrl.parse, "sqlite:/a.db?synchronous=full")), {
      file: "/a.db",
      synchronous: "full"
    })
    assert.isUndefined(Result.getOrThrow(at(SqliteUrl.parse, "sqlite:/a.db")).synchronous)
  })

  it("names Sentinels, and their master", () => {
    const place = Result.getOrThrow(at(RedisUrl.parse, "rediss+sentinel://:p%40ss@a:1,b/main"))
    if (place._tag !== "Sentinels") return assert.fail("no Sentinels")
    const { credentials, ...rest } = place.sentinels
    assert.deepStrictEqual(rest, {
      master: "main",
      tls: true,
      sentinels: [{ host: "a", port: 1 }, { host: "b", port: undefined }]
    })
    assert.isUndefined(credentials!.username)
    assert.strictEqual(Redacted.value(credentials!.password), "p@ss")
  })

  it("names the members of a cluster, a prefix, and a user", () => {
    const { credentials, endpoints, prefix } = Result.getOrThrow(at(EtcdUrl.parse, "etcds://u:p%40@a:1,[::1]/locks"))
    assert.deepStrictEqual(endpoints, ["https://a:1", "https://[::1]:2379"])
    assert.strictEqual(prefix, "locks/")
    assert.strictEqual(credentials!.username, "u")
    assert.strictEqual(Redacted.value(credentials!.password), "p@")
    assert.deepStrictEqual(Result.getOrThrow(at(EtcdUrl.parse, "etcd://a")).endpoints, ["http://a:2379"])
  })

  it("of listening says which of the two it is", () => {
    const error = Result.getOrThrow(Result.flip(PostgresUrl.parse(Redacted.make("none"), "listenUrl")))
    assert.include(error.message, "the listenUrl of the postgres store")
  })
})
