/**
 * The checks of a history see what is wrong in one, and nothing in one that may be.
 */
import { assert, describe, it } from "@effect/vitest"
import { Effect, Option } from "effect"
import type { Lease } from "effect-dlm"
import type { Protocol } from "effect-dlm/protocol"
import { type Forgetting, History } from "./History.ts"
import { type Limits, violations } from "./invariants.ts"
import { forgetting, fromLines, type Line } from "./lines.ts"
import { search } from "./order.ts"

const ttl = 1_000
const slack = 100
const limits: Limits = { slack, grain: 2 }

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
      more: { readonly fence?: number; readonly data?: string; readonly meant?: number; readonly heir?: string } = {}
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
        wait: 0,
        data: action === "Put" ? more.data : undefined,
        meant: more.meant === undefined ? undefined : String(more.meant),
        heir: more.heir
      })
      if (to === undefined) return self
      const response = {
        Status: status,
        // A tenure that is meant and over is nobody's.
        ...(status === "Locked" || (action === "Unlock" && more.meant !== 0) ? { ID: more.heir ?? id } : {}),
        ...(more.fence === undefined ? {} : { Fence: String(more.fence) }),
        ...(action === "Get" && more.data !== undefined ? { DataStore: more.data } : {})
      } as Protocol.Response
      lines.push({ type: "ended", op, at: to, ending: "answered", response })
      return self
    },
    body: (id: string, fence: number, from: number, to?: number) => {
      const body = n++
      lines.push({ type: "entered", body, at: from, name: "a", id, fence: String(fence), lasts: ttl - slack })
      if (to !== undefined) lines.push({ type: "left", body, at: to })
      return self
    },
    touch: (fence: number, from: number, to: number, taken: boolean) => {
      lines.push({ type: "touched", what: "write", name: "a", fence: String(fence), from, to, taken })
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
  Object.entries(violations(fromLines(processes.map(({ lines }) => lines), forgettings), limits))
    .filter(([, found]) => found.length > 0).map(([promise]) => promise)

describe("a history", () => {
  it("may be one after the other", () => {
    const one = process().ask("x", "Lock", [0, 10], "Locked", { fence: 1 }).body("x", 1, 11, 100)
      .ask("x", "Unlock", [100, 110], "Unlocked")
    const other = process().ask("y", "Lock", [50, 105], "Locked", { fence: 2 }).body("y", 2, 106)
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
    assert.deepStrictEqual(broken([one, other], [forgetting(200, 250)]), [])
    // Not if it forgot before.
    const late = process().ask("x", "Lock", [260, 270], "Locked", { fence: 1 })
    assert.include(broken([late, other], [forgetting(200, 250)]), "exclusion")
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
})

describe("a request that means a tenure", () => {
  const held = () => process().ask("x", "Lock", [0, 10], "Locked", { fence: 2 })
  const searched = (...processes: ReadonlyArray<ReturnType<typeof process>>) =>
    search(fromLines(processes.map(({ lines }) => lines)), { serverRate: 1, late: 0 }).violation

  it("ends no other", () => {
    const stillHeld = (meant: number) =>
      held().ask("x", "Unlock", [20], undefined, { meant }).ask("y", "Lock", [30, 40], "Locked", { fence: 3 })
    assert.deepStrictEqual(broken([stillHeld(2)]), [])
    for (const meant of [0, 1]) assert.deepStrictEqual(broken([stillHeld(meant)]), ["exclusion", "answers"])
    assert.isUndefined(searched(stillHeld(2)))
    for (const meant of [0, 1]) assert.isDefined(searched(stillHeld(meant)))
  })

  it("is refused where another is there, and begins none", () => {
    const asked = (meant: number, status: "Locked" | "NotOwner") =>
      held().ask("x", "Lock", [20, 30], status, { meant, ...(status === "Locked" ? { fence: 2 } : {}) })
    assert.deepStrictEqual([broken([asked(2, "Locked")]), searched(asked(2, "Locked"))], [[], undefined])
    assert.deepStrictEqual([broken([asked(1, "NotOwner")]), searched(asked(1, "NotOwner"))], [[], undefined])
    assert.deepStrictEqual(broken([asked(1, "Locked")]), ["answers"])
    assert.isDefined(searched(asked(1, "Locked")))
    assert.deepStrictEqual(broken([asked(2, "NotOwner")]), ["answers"])
    assert.isDefined(searched(asked(2, "NotOwner")))
    const over = held().ask("x", "Unlock", [20, 30], "Unlocked")
    assert.isUndefined(searched(over.ask("x", "Lock", [40, 50], "Unlocked", { meant: 2 })))
    assert.isDefined(searched(over.ask("x", "Lock", [60, 70], "Locked", { meant: 2, fence: 3 })))
  })

  it("passes it to its heir once, with a newer fence", () => {
    const passed = (heir: string, fence: number) =>
      process().ask("x", "Lock", [20, 30], "Locked", { meant: 2, heir, fence })
    const once = [held(), passed("y", 3), process().ask("y", "Lock", [40, 50], "Locked", { meant: 3, fence: 3 })]
    assert.deepStrictEqual([broken(once), searched(...once)], [[], undefined])
    // The same heir may ask again.
    assert.isUndefined(searched(...once, passed("y", 3)))
    assert.isDefined(searched(held(), passed("y", 2)))
    assert.isDefined(searched(...once, passed("z", 4)))
    assert.include(broken([...once, passed("z", 4)]), "exclusion")
    // The one that passed it on has it no more.
    assert.isDefined(searched(...once, process().ask("x", "Lock", [60, 70], "Locked", { fence: 2 })))
  })
})

describe("what was done under a lease", () => {
  it("is to read what its owner has put itself", () => {
    const reads = (data: string) =>
      broken([
        process().ask("x", "Put", [0, 10], "Done", { data: "old" }).ask("x", "Put", [11, 20], "Done", { data: "new" })
          .ask("x", "Get", [21, 30], "Done", { data })
      ])
    assert.deepStrictEqual(reads("new"), [])
    assert.deepStrictEqual(reads("another's"), ["data"])
  })

  it("ends before the lease does, unless the process could not end it", () => {
    const body = (to?: number) => process().ask("x", "Lock", [0, 10], "Locked", { fence: 1 }).body("x", 1, 11, to)
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

  it("is no write under a fence that is older than one that was seen", () => {
    const touches = (taken: boolean) => broken([process().touch(2, 0, 10, true), process().touch(1, 20, 30, taken)])
    assert.deepStrictEqual(touches(false), [])
    assert.deepStrictEqual(touches(true), ["guard"])
  })

  it("does not go on after it was told of the loss", () => {
    const told = (to: number, status: "NotOwner" | "Locked") =>
      broken([
        process().ask("x", "Lock", [0, 10], "Locked", { fence: 1 }).body("x", 1, 11, to)
          .ask("x", "Lock", [300, 310], status, status === "Locked" ? { fence: 3 } : {})
      ], [forgetting(100, 200)])
    assert.deepStrictEqual(told(400, "NotOwner"), [])
    assert.deepStrictEqual(told(420, "NotOwner"), ["deadlines"])
    assert.deepStrictEqual(told(420, "Locked"), ["deadlines"])
  })
})

describe("a history of answers", () => {
  it("has no fence again that was over", () => {
    const one = process().ask("x", "Lock", [0, 10], "Locked", { fence: 5 })
    const again = process().ask("x", "Lock", [60, 70], "Locked", { fence: 5 })
    assert.deepStrictEqual(broken([one, again]), [])
    assert.deepStrictEqual(broken([one, again], [forgetting(20, 30)]), ["fences"])
    assert.deepStrictEqual(broken([one.ask("x", "Unlock", [20, 30], "Unlocked"), again]), ["fences"])
  })

  it("has no fence of two owners", () => {
    const one = process().ask("x", "Lock", [0, 50], "Locked", { fence: 5 })
    const other = process().ask("y", "Lock", [0, 60], "Locked", { fence: 5 })
    assert.include(broken([one, other]), "fences")
  })

  it("has no answers that are another's, or blame a client that does nothing wrong", () => {
    const one = process().ask("x", "Lock", [0, 10], "BadPayload")
    assert.deepStrictEqual(broken([one]), ["answers"])
    const foreign = process().ask("x", "Unlock", [0, 10], "Unlocked")
    const [asked, ended] = foreign.lines
    assert.deepStrictEqual(broken([foreign]), [])
    const swapped: Line = { ...ended as Extract<Line, { type: "ended" }>, response: { Status: "Unlocked", ID: "y" } }
    assert.deepStrictEqual(broken([{ ...foreign, lines: [asked!, swapped] }]), ["answers"])
  })

  it.effect("is recorded around bodies too: one at a time, with rising fences", () =>
    Effect.gen(function*() {
      const lease = (id: string, fence: bigint) => ({ name: "a", id, fence: Option.some(fence) }) as Lease.Lease
      const recorded = (fences: readonly [bigint, bigint], apart: boolean) =>
        Effect.gen(function*() {
          let now = 0
          const history = new History({ now: () => now++ })
          const second = history.during("two", lease("y", fences[1]), Effect.void)
          const first = history.during("one", lease("x", fences[0]), apart ? Effect.void : second)
          yield* apart ? Effect.andThen(first, second) : first
          return history
        })
      const good = yield* recorded([1n, 2n], true)
      good.check()
      assert.strictEqual(good.holds.length, 2)
      const equal = yield* recorded([1n, 1n], true)
      assert.throws(() => equal.check(), /had fence 1 after 1/)
      const together = yield* recorded([1n, 2n], false)
      assert.throws(() => together.check(), /held a at/)
    }))
})

describe("the search for an order", () => {
  const searched = (...processes: ReadonlyArray<ReturnType<typeof process>>) =>
    search(fromLines(processes.map(({ lines }) => lines)), { serverRate: 1, late: 0 }).violation

  it("finds one where there is one", () => {
    const one = process().ask("x", "Lock", [0, 10], "Locked", { fence: 1 }).ask("x", "Unlock", [20, 60], "Unlocked")
    assert.isUndefined(searched(one, process().ask("y", "Lock", [30, 40], "Locked", { fence: 2 })))
    // Without an answer it may have happened.
    const gone = process().ask("x", "Lock", [0, 10], "Locked", { fence: 1 }).ask("x", "Unlock", [20])
    assert.isUndefined(searched(gone, process().ask("y", "Lock", [30, 40], "Locked", { fence: 2 })))
  })

  it("finds none where one answer contradicts another", () => {
    const one = process().ask("x", "Lock", [0, 10], "Locked", { fence: 1 }).ask("x", "Unlock", [50, 60], "Unlocked")
    assert.match(
      searched(one, process().ask("y", "Lock", [30, 40], "Locked", { fence: 2 })) ?? "",
      /^a: no order of its 3 requests can be true/
    )
    // It is free again, and then refused.
    const refused = process().ask("y", "Lock", [70, 80], "NotOwner")
    assert.isDefined(searched(one, refused))
  })
})
