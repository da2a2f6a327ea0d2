import * as path from "node:path"
import { defineConfig } from "vitest/config"

const src = (file: string) => path.join(import.meta.dirname, "src", file)

const tests = "**/*.test.ts"

/** What loads the whole machine, or measures it: one file at a time, with no other beside it. */
const proof = [
  `test/system/{faults,hostile,programs,simulation}/${tests}`,
  "test/system/node/page/{load,memory}.test.ts",
  "test/system/sqlite/crash.test.ts",
  "test/system/store/load.test.ts"
]

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
    // One after another, in this order.
    projects: [
      // Deterministic, and with nothing but Node: test/suite.test.ts says what may not be in it.
      {
        extends: true,
        test: {
          ...common,
          name: "unit",
          include: [`test/${tests}`],
          exclude: ["test/system/**"],
          maxWorkers: 4,
          sequence: { groupOrder: 0 }
        }
      },
      // Sockets, processes, the stores' own servers, real time.
      {
        extends: true,
        test: {
          ...common,
          name: "system",
          include: [`test/system/${tests}`],
          exclude: proof,
          maxWorkers: 4,
          sequence: { groupOrder: 1 }
        }
      },
      {
        extends: true,
        test: { ...common, name: "proof", include: proof, fileParallelism: false, sequence: { groupOrder: 2 } }
      }
    ]
  }
})
