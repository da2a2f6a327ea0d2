import { afterAll, describe, it } from "@effect/vitest"
import { SqliteStore } from "effect-dlm/sqlite"
import { StoreContract } from "effect-dlm/testing"
import * as fs from "node:fs"
import * as os from "node:os"
import * as path from "node:path"

const folder = fs.mkdtempSync(path.join(os.tmpdir(), "dlm-sqlite-"))
afterAll(() => fs.rmSync(folder, { recursive: true }))

describe("the laws", () => {
  const layer = SqliteStore.layer({ file: path.join(folder, "laws.db") })
  for (const { check, name } of StoreContract.laws(layer, { tells: false })) it.live(name, () => check)
})
