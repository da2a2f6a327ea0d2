/**
 * A million inputs and more, valid and broken, against the framer, the decoder and the handler. What the fuzzer finds
 * it prints as a line for `regressions.jsonl`, whose inputs are tried each time.
 */
import { assert, describe, it } from "@effect/vitest"
import { Protocol } from "effect-dlm/protocol"
import { Limits } from "effect-dlm/server"
import { spawn } from "node:child_process"
import * as fs from "node:fs"
import * as path from "node:path"
import { createInterface } from "node:readline"
import { atMostTwice, isLong, report } from "../../support/report.ts"
import * as codec from "./codec.ts"
import { boundMillis, type Finding, type Finished, type Options, type Report } from "./fuzzer.ts"
import { shaped, shapes } from "./inputs.ts"
import { makeTarget } from "./target.ts"
import { wrong } from "./verdict.ts"

const seeds = [1, 2]
const inputs = (isLong ? 10_000_000 : 1_000_000) / seeds.length

/** Where the rows of the report come from. */
const from = { section: "Hostile input", file: import.meta.filename } as const

/** How much more memory may be in use at the end than at the beginning. */
const maxGrowth = 8 * 1024 * 1024

/** Of very many values. */
const worstShapes = shapes.slice(-6)

/** Longer inputs follow from their seed and number: they are too long for a terminal. */
const maxShown = 100_000

/** For so long the fuzzer may say nothing: it is stuck then. */
const patience = 90_000

/** Runs the fuzzer on a seed, in a process of its own, since an input may end it, or never end. */
const run = (options: Options): Promise<Finding | Finished> =>
  new Promise((resolve, reject) => {
    const child = spawn(
      process.execPath,
      // With more room for what is new, the collector takes half the time.
      ["--expose-gc", "--max-semi-space-size=32", path.join(import.meta.dirname, "fuzzer.ts"), JSON.stringify(options)],
      { stdio: ["ignore", "pipe", "inherit"] }
    )
    let last: Report = { at: 0 }
    const fail = (what: string) => {
      child.kill("SIGKILL")
      reject(new Error(`the fuzzer ${what} with seed ${options.seed}, after ${JSON.stringify(last).slice(0, 200)}`))
    }
    const stuck = setTimeout(() => fail("is stuck"), patience)
    createInterface(child.stdout).on("line", (line) => {
      last = JSON.parse(line)
      stuck.refresh()
    })
    child.on("close", (status) => {
      clearTimeout(stuck)
      if (status !== 0 || "at" in last) fail(`ended with ${status}`)
      else resolve(last)
    })
  })

const regressions = fs.readFileSync(path.join(import.meta.dirname, "regressions.jsonl"), "utf8").trimEnd().split("\n")
  .map((line): { readonly why: string } & Finding["input"] => JSON.parse(line))

describe("the fuzzer", () => {
  for (const { chunks, why, ...as } of regressions) {
    it(`finds nothing wrong any more with ${why}`, async () => {
      const input = { ...as, chunks: chunks.map((chunk) => Buffer.from(chunk, "base64")) }
      const target = await makeTarget()
      for (const through of ["messages", "connection"] as const) {
        assert.isUndefined(wrong(input, await target[through](input)), through)
      }
      await target.close()
    })
  }

  it(`finds nothing wrong with ${inputs * seeds.length} inputs`, async () => {
    const results = await Promise.all(seeds.map((seed) => run({ seed, inputs })))
    const finished: Array<Finished> = []
    for (const result of results) {
      if ("problem" in result) {
        const { index, input, problem, seed } = result
        const line = JSON.stringify({ why: problem, ...input })
        return assert.fail(
          `${problem}: seed ${seed}, input ${index}\n${line.length < maxShown ? line : `${line.length} characters`}`
        )
      }
      finished.push(result)
    }
    const sum = (of: (one: Finished) => number) => finished.reduce((sum, one) => sum + of(one), 0)
    const growth = Math.max(...finished.map(({ heapAfter, heapBefore }) => heapAfter - heapBefore))
    const statuses = ["Locked", "Unlocked", "NotOwner", "Done", "NoData", "NotFound", "Corruption", "BadPayload"]
    // They have come everywhere.
    for (const status of [...statuses, "BadAction", "Version"]) {
      assert.isAbove(sum((one) => one.statuses[status] ?? 0), inputs / 10_000, status)
      assert.isAbove(sum((one) => one.ofFrames[status] ?? 0), inputs / 100_000, `${status}, by frames`)
    }
    report("hostile-fuzz", from, [
      { what: "inputs without a finding", figure: String(sum((one) => one.inputs)), goal: ">= 1000000" },
      {
        what: "of them frames",
        figure: String(sum((one) => Object.values(one.ofFrames).reduce((all, count) => all + count, 0))),
        goal: "a third"
      },
      { what: "bytes", figure: String(sum((one) => one.bytes)), goal: "none" },
      { what: "seconds", figure: Math.max(...finished.map((one) => one.seconds)).toFixed(0), goal: "<= 90 in CI" },
      {
        what: "slowest input, ms",
        figure: Math.max(...finished.map((one) => one.slowestMillis)).toFixed(1),
        goal: `<= ${boundMillis}`
      },
      {
        what: `inputs above ${boundMillis} ms once, and not again`,
        figure: String(sum((one) => one.disturbed)),
        goal: "none: the machine's"
      },
      { what: "heap grown after gc, bytes", figure: String(growth), goal: `<= ${maxGrowth}` }
    ])
    atMostTwice(growth, maxGrowth, "heap grown after gc, bytes")
  }, isLong ? 3_600_000 : 600_000)
})

describe("the longest line of a proved identity", () => {
  it("costs what is known at the most", async () => {
    const millis = worstShapes.map((shape) => {
      const line = codec.encode(shaped(shape, Limits.defaults.maxLineBytes / 2))
      return Math.min(...Array.from({ length: 5 }, () => {
        const before = process.threadCpuUsage()
        Protocol.decodeRequest(line, Limits.defaults.maxJsonDepth)
        const { system, user } = process.threadCpuUsage(before)
        return (system + user) / 1000
      }))
    })
    const worst = Math.max(...millis)
    report("hostile-longest-line", from, [{
      what: "the worst line of 10 MiB, after a proof, ms of CPU",
      figure: `${worst.toFixed(0)}, by ${worstShapes[millis.indexOf(worst)]![0]}${
        worstShapes[millis.indexOf(worst)]![1](1)
      }...`,
      goal: `<= ${boundMillis}`
    }])
    atMostTwice(worst, boundMillis, "the worst line, ms of CPU")
  })
})
