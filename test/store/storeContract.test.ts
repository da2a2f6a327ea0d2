import { describe, it } from "@effect/vitest"
import { Store } from "effect-dlm/server"
import { StoreContract } from "effect-dlm/testing"
import { passTime } from "../support/passTime.ts"

describe("the memory store", () => {
  for (const { check, name } of StoreContract.laws(Store.layerMemory)) it.effect(name, () => passTime(check))
})
