/**
 * What a database says that the table of fences was not made in, or not as this version needs it.
 */
import { assert } from "@effect/vitest"
import { Effect, Option } from "effect"
import type { Lease } from "effect-dlm"
import { Fence } from "effect-dlm/fence"
import type { SqlClient } from "effect/sql"

/** A lease as far as a guard looks at it. */
export const leaseOf = <M extends Lease.Mode>(mode: M, fence: number): Lease.Lease<M> =>
  ({ mode, name: "orders", fence: Option.some(BigInt(fence)) }) as Lease.Lease<M>

/** Asserts that each way to guard asks for the migration, also within a transaction, and goes on after it. */
export const assertAsked = Effect.fnUntraced(function*(sql: SqlClient.SqlClient) {
  for (const mode of ["exclusive", "shared"] as const) {
    const guarding = Effect.void.pipe(Fence.sql(sql, leaseOf(mode, 6)))
    for (const tried of [guarding, sql.withTransaction(guarding)]) {
      const error = yield* Effect.flip(tried)
      assert.strictEqual(error._tag, "NotMigrated")
      assert.include(error.message, "Run Fence.migrate(client)")
    }
  }
  yield* Fence.migrate(sql)
  yield* Effect.void.pipe(Fence.sql(sql, leaseOf("shared", 6)))
})
