/**
 * The checker of audit files: a file for each thing that can be wrong, and those of a server that are not.
 */
import { assert, describe, it } from "@effect/vitest"
import { Effect, Layer, Schema } from "effect"
import type { Protocol } from "effect-dlm/protocol"
import { History, Identities, LockServer, Store } from "effect-dlm/server"
import { TestClock } from "effect/testing"
import { AuditCheck, isViolation } from "../../src/cli/AuditCheck.ts"
import { loggedOf } from "../../src/server/EventLog.ts"
import { requestOf } from "../support/request.ts"

const began = { Audit: "Began", At: "0", Process: "p", Alone: "true" }
const { Alone: _, ...beganBesideOthers } = began

/** An event, in short: its kind, fence, and for permits limit and weight. */
const event = (Event: string, Fence: number, Limit?: string, Weight?: string) => ({
  Event,
  FileName: "f",
  Fence: String(Fence),
  ...(Limit === undefined ? {} : { Limit, Weight: Weight ?? "1" })
})

/** Checks lines: events get their numbers, and text stands as it is. */
const check = (lines: ReadonlyArray<object | string>, end = "\n") => {
  const checked = new AuditCheck()
  let number = 1
  const findings = lines.flatMap((line, i) =>
    checked.next(
      typeof line === "string"
        ? line
        : JSON.stringify("Audit" in line ? line : { At: "1", Number: String(number++), ...line }),
      i + 1
    )
  )
  const all = [...findings, ...checked.end(end === "\n")]
  return { checked, all, kinds: all.map(({ kind, line }) => `${kind} ${line}`) }
}

const [taken, released, expired] = [
  (fence: number, limit?: string, weight?: string) => event("Taken", fence, limit, weight),
  (fence: number) => event("Released", fence),
  (fence: number) => event("Expired", fence)
]

describe("a violation", () => {
  const wrong: ReadonlyArray<readonly [string, ReadonlyArray<object | string>, ReadonlyArray<string>]> = [
    ["of two that hold a mutex", [began, taken(1), taken(2)], ["Overlap 3"]],
    ["of two that hold a mutex, beside other servers", [beganBesideOthers, taken(1), taken(2)], ["Overlap 3"]],
    ["of a mutex beside a permit", [began, taken(1, "3"), taken(2)], ["Overlap 3"]],
    ["of a permit beside a mutex", [began, taken(1), taken(2, "3")], ["Overlap 3"]],
    ["of weights above the limit", [began, taken(1, "3", "2"), taken(2, "3", "1"), taken(3, "3", "1")], ["Overlap 4"]],
    ["of another limit", [began, taken(1, "3"), taken(2, "4")], ["Overlap 3"]],
    ["of a writer beside a reader", [began, taken(1, "shared"), taken(2, "shared", "all")], ["Overlap 3"]],
    ["of a reader beside a writer", [began, taken(1, "shared", "all"), taken(2, "shared")], ["Overlap 3"]],
    ["of two writers", [began, taken(1, "shared", "all"), taken(2, "shared", "all")], ["Overlap 3"]],
    ["of a fence that falls", [began, taken(7), released(7), taken(6)], ["Fence 4"]],
    ["of a fence that repeats", [began, taken(7), released(7), taken(7)], ["Fence 4"]],
    ["of a fence that falls after a restart", [began, taken(7), began, { ...taken(6), Number: "1" }], ["Fence 4"]],
    ["of an end without a beginning", [began, released(1)], ["Ending 2"]],
    ["of an end that is another's", [began, taken(1), expired(2)], ["Ending 3"]],
    ["of a name that was revoked, before its end", [began, taken(1), event("Revoked", 1), taken(2)], ["Overlap 4"]],
    ["of an end that comes twice", [beganBesideOthers, taken(1), released(1), expired(1)], ["Ending 4"]]
  ]
  it.each(wrong)("is found $0", (_, lines, expected) => {
    const { all, kinds } = check(lines)
    assert.deepStrictEqual(kinds, expected)
    assert.isTrue(all.every(isViolation))
    assert.match(all[0]!.what, /^"f" /)
  })

  it("is told once", () => {
    assert.deepStrictEqual(check([began, taken(1), taken(2), released(2), taken(3)]).kinds, ["Overlap 3"])
  })
})

describe("no violation", () => {
  const right: ReadonlyArray<readonly [string, ReadonlyArray<object | string>]> = [
    ["one after another", [began, taken(1), released(1), taken(2), expired(2), taken(3)]],
    ["permits within their limit", [began, taken(1, "3", "2"), taken(2, "3", "1"), released(1), taken(3, "3", "2")]],
    ["readers together", [began, taken(1, "shared"), taken(2, "shared"), taken(3, "shared")]],
    ["another limit once all are gone", [began, taken(1, "3"), released(1), taken(2, "4")]],
    ["what was lost", [began, taken(1), event("Lost", 1), taken(2), event("Lost", 1)]],
    ["what was revoked by force", [began, taken(1), event("Revoked", 1), released(1), taken(2), released(2)]],
    ["what was revoked, and ended", [began, taken(1), event("Revoked", 1), expired(1), taken(2)]],
    ["what was held when another process began", [began, taken(1), { ...began, Process: "q" }]],
    ["an end, where another server may have given it", [beganBesideOthers, released(1), taken(2), released(2)]],
    ["an end at the beginning of a file that goes on", [released(1), taken(2), released(2)]],
    ["an end behind a gap", [began, taken(1), { Audit: "Dropped", At: "1", Count: "0" }, taken(2), released(9)]],
    ["what is not followed", [began, { ...taken(1), Reason: "not followed" }, taken(2)]],
    ["what its server says of it besides", [began, event("Refused", 1), event("Deadlock", 1)]]
  ]
  it.each(right)("is %s", (_, lines) => assert.deepStrictEqual(check(lines).kinds, []))
})

describe("a line that is none", () => {
  it("is told with its number", () => {
    const { all, kinds } = check([began, "{\"Event\":\"Ta", taken(1), "", "null", released(1)])
    assert.deepStrictEqual(kinds, ["Line 2", "Line 4", "Line 5"])
    assert.isFalse(all.some(isViolation))
  })

  it("is torn where it is the last and has no end, and where another process began behind it", () => {
    const last = check([began, taken(1), "{\"Number\":\"2\",\"At"], "")
    assert.deepStrictEqual([last.kinds, last.checked.tornLines], [[], 1])
    const ended = check([began, taken(1), "{\"Number\":\"2\",\"At"])
    assert.deepStrictEqual(ended.kinds, ["Line 3"])
    const again = check([began, taken(1), "{\"Number\":\"2\",\"At", began])
    assert.deepStrictEqual([again.kinds, again.checked.tornLines], [[], 1])
  })

  it("is one that comes twice", () => {
    const { kinds } = check([began, { ...taken(1), Number: "5" }, { ...released(1), Number: "5" }])
    assert.deepStrictEqual(kinds, ["Order 3"])
  })

  it("is missing where the numbers say so", () => {
    const { checked, kinds } = check([began, taken(1), { ...taken(9), Number: "9" }])
    assert.deepStrictEqual([kinds, checked.dropped], [[], 7])
  })
})

const Step = Schema.Tuple([
  Schema.Literals(["Lock", "Unlock", "Renew", "Heir", "Put", "Erase", "Wait", "Pass", "Revoke"]),
  Schema.Literals(["a", "b", "c"]),
  Schema.Literals(["f", "g", "h"]),
  Schema.Literals([0, 1, 2, 3])
])
const Steps = Schema.Array(Step).check(Schema.isMinLength(10), Schema.isMaxLength(80))

type Step = typeof Step.Type

/** Each name is held in a way of its own. */
const limitOf = { f: {}, g: { Limit: "3" }, h: { Limit: "shared" } } as const

describe("what a server says", () => {
  it.effect.prop("is no violation, whatever is asked of it", [Steps], ([steps]) =>
    Effect.gen(function*() {
      const { handle } = yield* LockServer.LockServer
      const history = yield* History.History
      const fences = new Map<string, string>()
      const request = requestOf({ Seq: "1", FileName: "f", Expire: 2 })
      const ask = Effect.fnUntraced(function*([what, ID, FileName, n]: Step) {
        const key = `${FileName} ${ID}`
        const limit = limitOf[FileName]
        const weight = FileName === "f"
          ? {}
          : { Weight: FileName === "g" ? String(Math.max(1, n)) : n === 0 ? "all" : "1" }
        const held = { FileName, Fence: fences.get(key) ?? "1" }
        const asked: { readonly [What in Step[0]]: () => Protocol.Request } = {
          Lock: () => request("Lock", ID, { FileName, ...limit, ...weight, Expire: n + 0.5 }),
          Wait: () => request("Lock", ID, { FileName, ...limit, ...weight, Wait: n * 1000, Expire: n }),
          Unlock: () => request("Unlock", ID, n === 0 ? { FileName } : held),
          Renew: () => request("Lock", ID, { ...held, ...limit, ...weight, Expire: n }),
          Heir: () => request("Lock", ID, { ...held, ...limit, ...weight, Heir: "a" }),
          Put: () => request("Put", ID, { FileName, DataStore: "x" }),
          Erase: () => request("Erase", ID, { FileName }),
          Pass: () => request("TestLock", ID, { FileName }),
          Revoke: () => request("Revoke", ID, { FileName, Reason: "r" })
        }
        const answer = yield* handle(asked[what]())
        if (answer.Status === "Locked" && answer.Fence !== undefined) {
          fences.set(`${FileName} ${answer.ID}`, answer.Fence)
        }
      })
      for (const step of steps) {
        yield* Effect.forkChild(ask(step), { startImmediately: true })
        yield* TestClock.adjust(step[0] === "Pass" ? step[3] * 700 : 0)
      }
      yield* TestClock.adjust(20_000)
      const { events } = history.read()
      const { checked, all } = check([began, ...events.map(loggedOf)])
      assert.deepStrictEqual(all, [])
      assert.strictEqual(checked.events, events.length)
      // All that was taken has ended, and is told to have.
      const ends = events.filter(({ event }) => event === "Released" || event === "Expired").length
      const lost = events.filter(({ event }) => event === "Taken").length
      assert.strictEqual(ends, lost)
    }).pipe(Effect.provide(
      Layer.provideMerge(
        LockServer.layer.pipe(Layer.provide([Store.layerMemory, Identities.layerNone])),
        History.layer()
      ).pipe(Layer.fresh),
      { local: true }
    )), { arbitrary: { runs: 150 } })
})
