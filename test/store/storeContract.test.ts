import { describe, it } from "@effect/vitest"
import { Store } from "effect-dlm/server"
import { StoreContract } from "effect-dlm/testing"

describe("the memory store", () => {
  for (const { check, name } of StoreContract.laws(Store.layerMemory)) it.live(name, () => check)
})
