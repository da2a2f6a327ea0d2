#!/usr/bin/env node
import { collectEarly } from "./cli/garbage.ts"
import { nodeProblem } from "./cli/nodeVersion.ts"

const problem = nodeProblem(process.versions.node)
if (problem !== undefined) {
  console.error(problem)
  process.exit(64)
}
// Before all else is loaded, since the young generation grows by that.
collectEarly(true)
void import("./cli/start.ts").then(({ start }) => start())
