/**
 * The URL of the store in a file: `sqlite:FILE`, and how safe it is.
 */
import * as Redacted from "effect/Redacted"
import * as Result from "effect/Result"
import * as StoreUrl from "../store/StoreUrl.ts"
import type { StoreUrlError } from "../StoreError.ts"

/** What a URL says. */
export interface Place {
  readonly file: string
  readonly synchronous: "normal" | "full" | undefined
}

const form = "sqlite:/var/lib/dlm/locks.db, and after it ?synchronous=normal, ?synchronous=full or nothing"

// SQLite's own name for a database in memory, which would be a file of that name here, and nobody means that.
const inMemory = /^sqlite:(?:file:)?:memory:(?:\?.*)?$/s

const formInMemory =
  "sqlite:./:memory: where a file of that name is meant, and as memory where locks are to be kept in memory"

/** Which file it names, or how it is to be written. */
export const parse = (url: Redacted.Redacted): Result.Result<Place, StoreUrlError> => {
  if (inMemory.test(Redacted.value(url))) return Result.fail(StoreUrl.malformed("sqlite", formInMemory))
  const [, file, synchronous] = /^sqlite:([^?]+)(?:\?synchronous=(normal|full))?$/.exec(Redacted.value(url)) ?? []
  return file === undefined
    ? Result.fail(StoreUrl.malformed("sqlite", form))
    : Result.succeed({ file, synchronous: synchronous as Place["synchronous"] })
}
