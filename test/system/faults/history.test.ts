/**
 * The checks of a history see what is wrong in one, and nothing in one that may be.
 */
import { assert, describe, it } from "@effect/vitest"
import type { Protocol } from "effect-dlm/protocol"
import { type Forgetting, fromLines, type Line, violations } from "./history.ts"

const ttl = 1_000

/** A process, and what it wrote. */
const process = () => {
  const lines: Array<Line> = []
  let n = 0
  const self = {
    lines,
    /** A request of an owner on the one name, and its answer, where it had one. */
    ask: (
      id: string,
      action: Protocol.Action,
      [from, to]: readonly [number, number?],
      status?: Protocol.Response["Status"],
      more: { readonly fence?: number; readonly data?: string } = {}
    ) => {
      const op = n++
      lines.push({
        type: "asked",
        op,
        at: from,
        action,
        name: "a",
        id,
        ttl,
        data: action === "Put" ? more.data : undefined
      })
      if (to === undefined) return self
      const fence = more.fence === undefined ? undefined : String(more.fence)
      const data = action === "Get" ? more.data : undefined
      lines.push({ type: "ended", op, at: to, ending: "answered", status, fence, data })
      return self
    },
    body: (fence: number, from: number, to?: number) => {
      const body = n++
      lines.push({ type: "entered", body, at: from, name: "a", fence: String(fence) })
      if (to !== undefined) lines.push({ type: "left", body, at: to })
      return self
    },
    touch: (fence: number, from: number, to: number, taken: boolean) => {
      lines.push({ type: "touched", what: "write", name: "a", fence: String(fence), from, to, taken, stopped: false })
      return self
    },
    pause: (from: number, to: number) => {
      lines.push({ type: "paused", from, to })
      return self
    }
  }
  return self
}

/** The promises that are broken by what these processes wrote. */
const broken = (processes: ReadonlyArray<ReturnType<typeof process>>, forgettings?: ReadonlyArray<Forgetting>) =>
  Object.entries(violations(fromLines(processes.map(({ lines }) => lines)), forgettings))
    .filter(([, found]) => found.length > 0).map(([promise]) => promise)

describe("a history", () => {
  it("may be one after the other", () => {
    const one = process().ask("x", "Lock", [0, 10], "Locked", { fence: 1 }).body(1, 11, 100)
      .ask("x", "Unlock", [100, 110], "Unlocked")
    const other = process().ask("y", "Lock", [50, 105], "Locked", { fence: 2 }).body(2, 106)
    assert.deepStrictEqual(broken([one, other]), [])
  })

  it("has no two holders at once", () => {
    const one = process().ask("x", "Lock", [0, 10], "Locked", { fence: 1 })
    const early = process().ask("y", "Lock", [5, 900], "Locked", { fence: 2 })
    const inTime = process().ask("y", "Lock", [5, 1001], "Locked", { fence: 2 })
    assert.deepStrictEqual(broken([one, early]), ["exclusion"])
    assert.deepStrictEqual(broken([one, inTime]), [])
    // A renewal makes it longer.
    one.ask("x", "Lock", [400, 410], "Locked", { fence: 1 })
    assert.deepStrictEqual(broken([one, inTime]), ["exclusion"])
    // Data keep a name as a lock does.
    const data = process().ask("z", "Put", [2000, 2010], "Done", { data: "z" })
    const other = process().ask("y", "Lock", [1990, 2500], "Locked", { fence: 2 })
    assert.deepStrictEqual(broken([data, other]), ["exclusion"])
  })

  it("has no hold that ends by what was asked before it began", () => {
    const one = process().ask("x", "Unlock", [0, 5], "Unlocked").ask("x", "Lock", [6, 10], "Locked", { fence: 1 })
    const other = process().ask("y", "Lock", [20, 30], "Locked", { fence: 2 })
    assert.include(broken([one, other]), "exclusion")
    assert.deepStrictEqual(broken([one.ask("x", "Unlock", [15]), other]), [])
  })

  it("may have two, if the server forgot one", () => {
    const one = process().ask("x", "Lock", [0, 10], "Locked", { fence: 1 })
    const other = process().ask("y", "Lock", [300, 310], "Locked", { fence: 2 })
    assert.deepStrictEqual(broken([one, other], [{ from: 200, to: 250 }]), [])
    // Not if it forgot before.
    const late = process().ask("x", "Lock", [260, 270], "Locked", { fence: 1 })
    assert.include(broken([late, other], [{ from: 200, to: 250 }]), "exclusion")
  })

  it("has fences that rise with each grant", () => {
    const first = process().ask("x", "Lock", [0, 10], "Locked", { fence: 5 }).ask("x", "Unlock", [20, 25], "Unlocked")
    const next = (fence: number) => process().ask("y", "Lock", [30, 40], "Locked", { fence })
    assert.deepStrictEqual(broken([first, next(6)]), [])
    assert.deepStrictEqual(broken([first, next(5)]), ["fences"])
    assert.deepStrictEqual(broken([first, next(4)]), ["fences"])
    // Asked for before the other was known, it may have been granted before.
    const meanwhile = process().ask("y", "Lock", [5, 40], "Locked", { fence: 4 })
    assert.deepStrictEqual(broken([first, meanwhile]), [])
  })

  it("tells others that a name is held, and its owner that it is its own", () => {
    const holder = () => process().ask("x", "Lock", [0, 10], "Locked", { fence: 1 })
    const asks = (id: string, action: Protocol.Action, status: Protocol.Response["Status"]) =>
      broken([holder(), process().ask(id, action, [20, 30], status)])
    assert.deepStrictEqual(asks("y", "TestLock", "NotOwner"), [])
    assert.deepStrictEqual(asks("y", "TestLock", "Unlocked"), ["answers"])
    assert.deepStrictEqual(asks("y", "Get", "NotFound"), ["answers"])
    assert.deepStrictEqual(asks("x", "TestLock", "Locked"), [])
    assert.deepStrictEqual(asks("x", "TestLock", "NotOwner"), ["answers"])
    assert.deepStrictEqual(asks("x", "Get", "NoData"), [])
    assert.deepStrictEqual(asks("x", "Get", "NotFound"), ["answers"])
    const put = process().ask("x", "Put", [0, 10], "Done", { data: "mine" })
    assert.deepStrictEqual(broken([put.ask("x", "Get", [20, 30], "NoData")]), ["answers"])
  })

  it("lets an owner read what it has put itself", () => {
    const reads = (data: string) =>
      broken([
        process().ask("x", "Put", [0, 10], "Done", { data: "old" }).ask("x", "Put", [11, 20], "Done", { data: "new" })
          .ask("x", "Get", [21, 30], "Done", { data })
      ])
    assert.deepStrictEqual(reads("new"), [])
    assert.deepStrictEqual(reads("another's"), ["data"])
  })

  it("has bodies that end before their lease does, unless their process could not", () => {
    const body = (to?: number) => process().ask("x", "Lock", [0, 10], "Locked", { fence: 1 }).body(1, 11, to)
    assert.deepStrictEqual(broken([body(990)]), [])
    assert.deepStrictEqual(broken([body()]), [])
    assert.deepStrictEqual(broken([body(1001)]), ["deadlines"])
    assert.deepStrictEqual(broken([body(1300).pause(950, 1290)]), [])
    assert.deepStrictEqual(broken([body(1300).pause(100, 800)]), ["deadlines"])
    assert.deepStrictEqual(broken([body(1300), process().pause(950, 1290)]), ["deadlines"])
    // What was asked of the resource in time is answered first.
    assert.deepStrictEqual(broken([body(1300).touch(1, 990, 1299, true)]), [])
    assert.deepStrictEqual(broken([body(1300).touch(1, 990, 1200, true)]), ["deadlines"])
    assert.deepStrictEqual(broken([body(1300).touch(1, 1010, 1299, true)]), ["deadlines"])
    assert.deepStrictEqual(broken([body(1300).touch(2, 990, 1299, true)]), ["deadlines"])
    // Renewed, it may go on.
    assert.deepStrictEqual(broken([body(1300).ask("x", "Lock", [400, 410], "Locked", { fence: 1 })]), [])
  })

  it("has no write under a fence that is older than one that was seen", () => {
    const touches = (taken: boolean) => broken([process().touch(2, 0, 10, true), process().touch(1, 20, 30, taken)])
    assert.deepStrictEqual(touches(false), [])
    assert.deepStrictEqual(touches(true), ["guard"])
  })
})
