/**
 * What a lease takes in memory that is merely held: a process may have very many.
 */
import { describe, it } from "@effect/vitest"
import { execFile } from "node:child_process"
import * as path from "node:path"
import { promisify } from "node:util"
import { atMostTwice, number, report } from "../../support/report.ts"

/** In bytes, of each. */
const most = 1_200

const leases = 20_000

describe("a process with very many leases", () => {
  it("keeps little for each, as they are held and once they were renewed", { timeout: 120_000 }, async () => {
    const { stdout } = await promisify(execFile)(process.execPath, [
      "--expose-gc",
      path.join(import.meta.dirname, "leases.ts"),
      String(leases)
    ])
    const { held, renewed }: { readonly held: number; readonly renewed: number } = JSON.parse(stdout)
    report("leases-memory", { section: "Elsewhere in the tests", file: import.meta.filename }, [{
      what: `Memory of each of ${number(leases)} leases that a process holds, and has renewed`,
      figure: `${number(Math.round(renewed))} bytes`,
      goal: `at most ${number(most)}`
    }])
    atMostTwice(held, most, "bytes of each lease that is held")
    atMostTwice(renewed, most, "bytes of each lease that was renewed")
  })
})
