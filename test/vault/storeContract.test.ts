import { describe, it } from "@effect/vitest"
import { StoreContract } from "effect-dlm/testing"
import { Store } from "effect-dlm/vault"

describe("the memory store", () => {
  for (const { check, name } of StoreContract.laws(Store.layerMemory)) it.live(name, () => check)
})
