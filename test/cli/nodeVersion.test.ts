import { assert, describe, it } from "@effect/vitest"
import * as fs from "node:fs"
import * as path from "node:path"
import { nodeProblem } from "../../src/cli/nodeVersion.ts"
import { project } from "../docs/blocks.ts"

describe("the Node of the command", () => {
  it("is one that package.json names, or a later one", () => {
    const { engines } = JSON.parse(fs.readFileSync(path.join(project, "package.json"), "utf8"))
    const least = /^>=(.*)$/.exec(engines.node)![1]!
    for (const good of [least, "22.20.0", "23.0.0", "24.21.0", process.versions.node]) {
      assert.isUndefined(nodeProblem(good))
    }
    for (const old of ["22.18.9", "20.20.2", "8.0.0"]) assert.include(nodeProblem(old), `this is Node ${old}`)
  })
})
