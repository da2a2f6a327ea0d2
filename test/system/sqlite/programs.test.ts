import { afterAll, describe } from "@effect/vitest"
import { SqliteStore } from "effect-dlm/sqlite"
import * as fs from "node:fs"
import * as os from "node:os"
import * as path from "node:path"
import { programSuite } from "../../support/storeSuite.ts"

describe("the programs over a SQLite file", () => {
  const folder = fs.mkdtempSync(path.join(os.tmpdir(), "dlm-sqlite-"))
  afterAll(() => fs.rmSync(folder, { recursive: true }))
  programSuite(SqliteStore.layer({ file: path.join(folder, "locks.db") }))
})
