import { assert, describe, it } from "@effect/vitest"
import { withoutSecrets } from "../../src/cli/store.ts"

describe("the place of a store", () => {
  for (
    const [place, shown] of [
      ["memory", "memory"],
      ["sqlite:/var/lib/d@m/locks.db?synchronous=full", "sqlite:/var/lib/d@m/locks.db"],
      ["redis://127.0.0.1:6379", "redis://127.0.0.1:6379"],
      ["rediss://:secret@host/0", "rediss://host/0"],
      ["redis+sentinel://me:secret@a:1,b:2/master", "redis+sentinel://a:1,b:2/master"],
      ["postgres://me:secret@host:5432/locks?sslmode=require&password=secret", "postgres://host:5432/locks"],
      // Not escaped, as it should have been.
      ["postgres://me:sec@ret@host/locks", "postgres://host/locks"],
      ["postgres://host/locks?user=me&password=sec@ret", "postgres://…"],
      ["postgres://me:1?secret@host/locks", "postgres://…"]
    ] as const
  ) {
    it(`is shown without what is secret: ${place}`, () => assert.strictEqual(withoutSecrets(place), shown))
  }
})
