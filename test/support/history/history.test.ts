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

/** What else a request says, and is answered: of a limit so much, or that it has another. */
interface More {
  readonly fence?: number
  readonly data?: string
  readonly meant?: number
  readonly heir?: string
  readonly wait?: number
  readonly of?: number | "shared"
  readonly weight?: number | "all"
  readonly told?: number | "shared"
  readonly ttl?: number
}

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
      more: More = {}
    ) => {
      const op = n++
      lines.push({
        type: "asked",
        op,
        at: from,
        action,
        name: "a",
        id,
        ttl: more.ttl ?? ttl,
        wait: more.wait ?? 0,
        data: action === "Put" ? more.data : undefined,
        meant: more.meant === undefined ? undefined : String(more.meant),
        heir: more.heir,
        limit: more.of === undefined ? undefined : String(more.of),
        weight: more.weight === undefined ? undefined : String(more.weight)
      })
      if (to === undefined) return self
      const response = {
        Status: status,
        // A tenure that is meant and over is nobody's.
        ...(status === "Locked" || (action === "Unlock" && more.meant !== 0) ? { ID: more.heir ?? id } : {}),
        ...(more.fence === undefined ? {} : { Fence: String(more.fence) }),
        ...(action === "Get" && more.data !== undefined ? { DataStore: more.data } : {}),
        ...(status === "Conflict" ? { Limit: String(more.told) } : {})
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
    touch: (fence: number, from: number, to: number, taken: boolean, what: "read" | "write" = "write") => {
      lines.push({ type: "touched", what, name: "a", fence: String(fence), from, to, taken })
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
const broken = (
  processes: ReadonlyArray<ReturnType<typeof process>>,
  forgettings?: ReadonlyArray<Forgetting>,
  more?: Limits
) =>
  Object.entries(violations(fromLines(processes.map(({ lines }) => lines), forgettings), { ...limits, ...more }))
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

  it("has no hold that lasts longer than its owner asked for last, answered or not", () => {
    const held = () => process().ask("x", "Lock", [0, 10], "Locked", { fence: 1 })
    const other = process().ask("y", "Lock", [500, 510], "Locked", { fence: 2 })
    assert.deepStrictEqual(broken([held().ask("x", "Lock", [100], undefined, { ttl: 300 }), other]), [])
    const shorter = held().ask("x", "Lock", [100, 110], "Locked", { fence: 1, ttl: 300 })
    assert.deepStrictEqual(broken([shorter, other]), [])
    // It was asked for longer since, or was refused, or is not over yet.
    const longer = shorter.ask("x", "Lock", [120, 130], "Locked", { fence: 1 })
    assert.include(broken([longer, other]), "exclusion")
    assert.include(broken([held().ask("x", "Lock", [100, 110], "NotOwner", { ttl: 300 }), other]), "exclusion")
    assert.include(broken([held().ask("x", "Lock", [300], undefined, { ttl: 300 }), other]), "exclusion")
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
    assert.deepStrictEqual(broken([asked(1, "Locked")]), ["fences", "answers"])
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

  it("is no write under a fence that is older than that of a read, and no read after a newer write", () => {
    const touches = (first: "read" | "write", then: "read" | "write") =>
      broken([process().touch(2, 0, 10, true, first), process().touch(1, 20, 30, true, then)])
    assert.deepStrictEqual(touches("read", "write"), ["guard"])
    assert.deepStrictEqual(touches("write", "read"), ["guard"])
    // Two that read together need no order.
    assert.deepStrictEqual(touches("read", "read"), [])
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

describe("a name with a limit", () => {
  type Process = ReturnType<typeof process>
  const searched = (...processes: ReadonlyArray<Process>) =>
    search(fromLines(processes.map(({ lines }) => lines)), { serverRate: 1, late: 0 }).violation
  /** Whether both the checks and the search let it be. */
  const mayBe = (...processes: ReadonlyArray<Process>) => {
    assert.deepStrictEqual(broken(processes, [], { late: 0 }), [])
    assert.isUndefined(searched(...processes))
  }
  /** What is broken, as the checks see it; and the search has no order for it either. */
  const mayNotBe = (...processes: ReadonlyArray<Process>) => {
    assert.isDefined(searched(...processes), "an order was found")
    return broken(processes, [], { late: 0 })
  }
  const takes = (id: string, from: number, fence: number, weight: number | "all", of: number | "shared", wait = 0) =>
    process().ask(id, "Lock", [from, from + 10], "Locked", { fence, weight, of, wait })
  const refused = (id: string, from: number, weight: number | "all", of: number | "shared") =>
    process().ask(id, "Lock", [from, from + 10], "NotOwner", { weight, of })

  it("has holders whose weights together are at most that", () => {
    mayBe(takes("x", 0, 1, 2, 5), takes("y", 20, 2, 3, 5), refused("z", 40, 1, 5))
    assert.deepStrictEqual(mayNotBe(takes("x", 0, 1, 2, 5), takes("y", 20, 2, 4, 5)), ["exclusion"])
    assert.deepStrictEqual(
      mayNotBe(takes("x", 0, 1, 2, 5), takes("y", 20, 2, 2, 5), takes("z", 40, 3, 2, 5)),
      ["exclusion"]
    )
    // Each ends for itself.
    mayBe(takes("x", 0, 1, 2, 5), takes("y", 500, 2, 3, 5), takes("z", 1011, 3, 2, 5), refused("u", 1030, 1, 5))
    assert.deepStrictEqual(
      mayNotBe(takes("x", 0, 1, 2, 5), takes("y", 500, 2, 3, 5), takes("z", 1011, 3, 3, 5)),
      ["exclusion"]
    )
  })

  it("has readers together, and a writer alone", () => {
    mayBe(takes("x", 0, 1, 1, "shared"), takes("y", 20, 2, 1, "shared"), refused("w", 40, "all", "shared"))
    mayBe(takes("w", 0, 1, "all", "shared"), refused("x", 20, 1, "shared"))
    assert.deepStrictEqual(
      mayNotBe(takes("x", 0, 1, 1, "shared"), takes("w", 20, 2, "all", "shared")),
      ["exclusion"]
    )
    assert.deepStrictEqual(
      mayNotBe(takes("w", 0, 1, "all", "shared"), takes("x", 20, 2, 1, "shared")),
      ["exclusion"]
    )
  })

  it("has no mutex beside its holders, and no holders beside a mutex", () => {
    const mutex = (from: number, fence: number) => process().ask("m", "Lock", [from, from + 10], "Locked", { fence })
    mayBe(takes("x", 0, 1, 1, 5), process().ask("m", "Lock", [20, 30], "NotOwner"), mutex(1011, 2))
    assert.deepStrictEqual(mayNotBe(takes("x", 0, 1, 1, 5), mutex(20, 2)), ["exclusion", "answers"])
    mayBe(mutex(0, 1), refused("x", 20, 1, 5), refused("m", 40, 1, 5))
    assert.deepStrictEqual(mayNotBe(mutex(0, 1), takes("x", 20, 2, 1, 5)), ["exclusion", "answers"])
    assert.deepStrictEqual(mayNotBe(mutex(0, 1), takes("m", 20, 1, 1, 5)), ["answers"])
    // Data belong to a mutex.
    mayBe(takes("x", 0, 1, 1, 5), process().ask("x", "Put", [20, 30], "NotOwner", { data: "x" }))
    assert.include(
      mayNotBe(takes("x", 0, 1, 1, 5), process().ask("x", "Put", [20, 30], "Done", { data: "x" })),
      "answers"
    )
  })

  it("has a fence for each holder, which rises with each tenure, and stays with renewals", () => {
    const renews = (id: string, from: number, fence: number, weight: number, more: More = {}) =>
      process().ask(id, "Lock", [from, from + 10], "Locked", { fence, weight, of: 5, ...more })
    mayBe(takes("x", 0, 1, 2, 5), takes("y", 20, 2, 3, 5), renews("x", 40, 1, 2), renews("y", 60, 2, 3, { meant: 2 }))
    assert.deepStrictEqual(mayNotBe(takes("x", 0, 2, 2, 5), takes("y", 20, 1, 3, 5)), ["fences"])
    assert.include(mayNotBe(takes("x", 0, 1, 2, 5), takes("y", 20, 1, 3, 5)), "fences")
    assert.isDefined(searched(takes("x", 0, 1, 2, 5), renews("x", 40, 3, 2)))
    assert.include(mayNotBe(takes("x", 0, 1, 2, 5), renews("x", 40, 3, 2, { meant: 1 })), "fences")
    // What was renewed lasts longer, and nothing else does.
    const [one, other] = [takes("x", 0, 1, 2, 5), takes("y", 20, 2, 3, 5)]
    mayBe(one, other, renews("y", 500, 2, 3), takes("z", 1200, 3, 2, 5), refused("u", 1220, 1, 5))
    assert.deepStrictEqual(mayNotBe(one, other, renews("y", 500, 2, 3), refused("z", 1200, 2, 5)), ["refusals"])
    assert.deepStrictEqual(mayNotBe(one, other, renews("y", 500, 2, 3), takes("z", 1200, 3, 3, 5)), ["exclusion"])
    // Before an answer it is not known in which order two began.
    const early = process().ask("x", "Lock", [0, 200], "Locked", { fence: 3, weight: 2, of: 5 })
    mayBe(early, takes("y", 20, 2, 3, 5))
    // One that was given back is over for its owner, and for nobody else.
    const gives = () => takes("x", 0, 1, 2, 5).ask("x", "Unlock", [40, 50], "Unlocked")
    mayBe(gives(), takes("y", 20, 2, 3, 5), renews("y", 60, 2, 3))
    assert.deepStrictEqual(mayNotBe(gives(), takes("y", 20, 2, 3, 5), renews("x", 60, 1, 2)), ["fences"])
  })

  it("passes on the place of one holder", () => {
    const passed = (fence: number, status: "Locked" | "NotOwner" = "Locked") =>
      process().ask("x", "Lock", [20, 30], status, {
        meant: 1,
        heir: "h",
        weight: 2,
        of: 3,
        ...(status === "Locked" ? { fence } : {})
      })
    const beside = () => takes("y", 12, 2, 1, 3)
    const asks = (id: string) => process().ask(id, "TestLock", [40, 50], "Locked")
    mayBe(takes("x", 0, 1, 2, 3), beside(), passed(3), asks("h"), asks("y"), refused("u", 60, 1, 3))
    assert.include(mayNotBe(takes("x", 0, 1, 2, 3), beside(), passed(1)), "fences")
    assert.isDefined(searched(takes("x", 0, 1, 2, 3), beside(), passed(3), asks("x")))
    assert.isDefined(searched(takes("x", 0, 1, 2, 3), beside(), passed(3, "NotOwner")))
    assert.deepStrictEqual(
      mayNotBe(takes("x", 0, 1, 2, 3), beside(), passed(3), takes("u", 60, 4, 1, 3)),
      ["exclusion"]
    )
  })

  it("tells of a conflict where there is another limit, or weight", () => {
    const conflict = (id: string, from: number, weight: number, of: number, told: number) =>
      process().ask(id, "Lock", [from, from + 10], "Conflict", { weight, of, told })
    mayBe(takes("x", 0, 1, 1, 5), conflict("y", 20, 1, 4, 5), conflict("x", 40, 2, 5, 5), conflict("x", 60, 1, 4, 5))
    // The limit is gone with its holders.
    mayBe(takes("x", 0, 1, 1, 5), takes("y", 1011, 2, 1, 4), conflict("z", 1030, 1, 5, 4))
    assert.deepStrictEqual(mayNotBe(conflict("y", 20, 1, 4, 5)), ["refusals"])
    assert.deepStrictEqual(mayNotBe(takes("x", 0, 1, 1, 5), conflict("y", 20, 1, 5, 5)), ["refusals"])
    assert.deepStrictEqual(mayNotBe(takes("x", 0, 1, 1, 5), conflict("y", 1011, 1, 4, 5)), ["refusals"])
    assert.include(mayNotBe(takes("x", 0, 1, 1, 5), conflict("y", 20, 1, 4, 3)), "answers")
    // And nothing else is told.
    assert.include(mayNotBe(takes("x", 0, 1, 1, 5), refused("y", 20, 1, 4)), "answers")
    assert.include(mayNotBe(takes("x", 0, 1, 1, 5), takes("y", 20, 2, 1, 4)), "answers")
    assert.deepStrictEqual(mayNotBe(takes("x", 0, 1, 1, 5), takes("x", 20, 1, 2, 5)), ["answers"])
    // The limit of the first that waits counts, too.
    const waits = process().ask("w", "Lock", [0, 900], "Locked", { fence: 3, weight: 1, of: 5, wait: 1000 })
    mayBe(waits, conflict("y", 20, 1, 4, 5))
    const mutex = process().ask("m", "Lock", [0, 10], "Conflict", { told: 5 })
    assert.include(broken([takes("x", 0, 1, 1, 5), mutex]), "answers")
  })

  it("loses no place of those who have ended", () => {
    const all = (from: number, status: "Locked" | "NotOwner") =>
      status === "Locked" ? takes("z", from, 9, 5, 5) : refused("z", from, 5, 5)
    const ended = () => [
      takes("x", 0, 1, 2, 5).ask("x", "Unlock", [20, 30], "Unlocked"),
      takes("y", 0, 2, 3, 5).ask("y", "Lock", [100, 110], "Locked", { fence: 2, weight: 3, of: 5 })
    ]
    mayBe(...ended(), all(1050, "NotOwner"))
    mayBe(...ended(), all(1111, "Locked"))
    assert.deepStrictEqual(mayNotBe(...ended(), all(1111, "NotOwner")), ["refusals"])
    // One of which nothing was heard may have a place.
    mayBe(...ended(), process().ask("u", "Lock", [300], undefined, { of: 5 }), all(1111, "NotOwner"))
    // Not only all of it, any place.
    assert.deepStrictEqual(mayNotBe(...ended(), refused("z", 40, 2, 5)), ["refusals"])
    // One that waits keeps others from it.
    const heavy = process().ask("h", "Lock", [35, 900], "NotOwner", { weight: 5, of: 5, wait: 800 })
    mayBe(...ended(), heavy, refused("z", 40, 2, 5))
  })

  it("is one owner's without an answer that came too late to be told", () => {
    // Its grant was never heard of, and yet it holds.
    const unheard = process().ask("x", "Lock", [0], undefined, { weight: 2, of: 3 })
    mayBe(unheard, takes("y", 20, 2, 1, 3), refused("z", 40, 1, 3))
    mayBe(
      unheard,
      takes("y", 20, 2, 1, 3),
      process().ask("x", "Lock", [40, 50], "Locked", { fence: 1, weight: 2, of: 3 })
    )
    assert.isDefined(searched(unheard, takes("y", 20, 2, 2, 3), takes("z", 40, 3, 2, 3)))
  })

  it("lets nobody pass the first that waits", () => {
    let now = 0
    const history = new History({ now: () => now++ })
    const request = (ID: string, more: Partial<Protocol.Request>): Protocol.Request => ({
      ID,
      FileName: "a",
      Action: "Lock",
      Expire: 1,
      Limit: "3",
      ...more
    })
    const comes = (ID: string, more: Partial<Protocol.Request> = {}) => history.comes(request(ID, more))
    const granted = (ID: string, Fence: string): Protocol.Response => ({ Status: "Locked", ID, Fence })
    const found = () => violations(history).turns
    const waits = { Wait: 100 }
    history.leaves(comes("x"), granted("x", "1"))
    const [heavy, light] = [comes("heavy", waits), comes("light", waits)]
    // A renewal passes nobody.
    history.leaves(comes("x"), granted("x", "1"))
    history.leaves(comes("x", { Fence: "1" }), granted("x", "1"))
    assert.deepStrictEqual(found(), [])
    history.leaves(heavy, granted("heavy", "2"))
    const again = comes("heavy", waits)
    history.leaves(light, granted("light", "3"))
    assert.deepStrictEqual(found(), [])
    history.leaves(comes("passer-by"), granted("passer-by", "4"))
    assert.match(String(found()), /^a: passer-by, .* passed heavy/)
    // A server that has forgotten all knows none that wait.
    history.forget()
    history.leaves(comes("later"), granted("later", "5"))
    assert.strictEqual(found()!.length, 1)
    history.leaves(again)
    assert.strictEqual(found()!.length, 1)
  })
})
