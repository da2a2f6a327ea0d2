import * as path from "node:path"
import { defineConfig } from "vitest/config"

const src = (file: string) => path.join(import.meta.dirname, "src", file)

/** What loads the whole machine, or measures it: one file at a time, with no other beside it. */
const heavy = ["test/system/{faults,hostile,simulation}/**/*.test.ts", "test/system/sqlite/crash.test.ts"]

/** Where the figures of the run are gathered, beside those that tests report themselves (test/support/report.ts). */
const reports = process.env["DLM_REPORT_DIR"]

const common = {
  testTimeout: 30_000,
  hookTimeout: 30_000
}

export default defineConfig({
  resolve: {
    alias: [
      { find: /^effect-dlm$/, replacement: src("index.ts") },
      { find: /^effect-dlm\/(.*)$/, replacement: src("$1/index.ts") }
    ]
  },
  test: {
    reporters: ["default", ...(reports === undefined ? [] : ["json"])],
    outputFile: { json: path.join(reports ?? "", "tests.json") },
    projects: [
      { extends: true, test: { ...common, name: "tests", include: ["test/**/*.test.ts"], exclude: heavy } },
      {
        extends: true,
        test: { ...common, name: "proof", include: heavy, fileParallelism: false, sequence: { groupOrder: 1 } }
      }
    ]
  }
})
