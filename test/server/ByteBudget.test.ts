import { assert, describe, it } from "@effect/vitest"
import { Limits } from "effect-dlm/server"
import { type Account, ByteBudget } from "../../src/server/ByteBudget.ts"

const budgetOf = (limits: Partial<Limits.Limits>, maxUnprovedLineBytes = 10) =>
  new ByteBudget({ ...Limits.defaults, ...limits }, maxUnprovedLineBytes)

/** A budget of 100 bytes, connections in it, and the names of those that gave up something. */
const made = () => {
  const budget = budgetOf({ maxInFlightBytes: 100 })
  const gaveUp: Array<string> = []
  const connection = (name: string): Account => {
    const account: Account = {
      unfinishedBytes: 0,
      untakenBytes: 0,
      isProved: false,
      refuseUnfinished: () => {
        gaveUp.push(name)
        budget.setUnfinished(account, 0)
      },
      cut: () => {
        gaveUp.push(name)
        budget.setUntaken(account, 0)
      }
    }
    budget.add(account)
    return account
  }
  return { budget, connection, gaveUp }
}

describe("the budget of unfinished requests", () => {
  it("of connections that have proved no identity is a quarter, and the longest one is refused", () => {
    const { budget, connection, gaveUp } = made()
    budget.setUnfinished(connection("short"), 9)
    budget.setUnfinished(connection("long"), 16)
    budget.relieve()
    assert.deepStrictEqual(gaveUp, [])
    budget.setUnfinished(connection("shortest"), 1)
    budget.relieve()
    assert.deepStrictEqual(gaveUp, ["long"])
  })

  it("lets a single line be as long as a line may be", () => {
    const budget = budgetOf({ maxInFlightBytes: 100 }, 60)
    const only: Account = {
      unfinishedBytes: 0,
      untakenBytes: 0,
      isProved: false,
      refuseUnfinished: () => assert.fail("refused"),
      cut: () => assert.fail("cut")
    }
    budget.add(only)
    budget.setUnfinished(only, 60)
    budget.relieve()
  })

  it("spares a proved connection until all are too much", () => {
    const { budget, connection, gaveUp } = made()
    const proved = connection("proved")
    budget.setUnfinished(proved, 20)
    budget.prove(proved)
    budget.setUnfinished(proved, 90)
    budget.setUnfinished(connection("unproved"), 10)
    budget.relieve()
    assert.deepStrictEqual(gaveUp, [])
    budget.begin(1, false)
    budget.relieve()
    assert.deepStrictEqual(gaveUp, ["proved"])
  })

  it("forgets a connection that has gone", () => {
    const { budget, connection, gaveUp } = made()
    const gone = connection("gone")
    budget.setUnfinished(gone, 25)
    budget.setUntaken(gone, 25)
    budget.delete(gone)
    budget.setUnfinished(connection("next"), 25)
    budget.setUntaken(connection("other"), 25)
    budget.relieve()
    assert.deepStrictEqual(gaveUp, [])
    assert.isTrue(budget.hasRoomFor(75))
    assert.isFalse(budget.hasRoomFor(76))
  })

  it("ends where nobody has an unfinished request that could be refused", () => {
    const { budget, connection, gaveUp } = made()
    connection("idle")
    budget.begin(101, false)
    budget.relieve()
    assert.deepStrictEqual(gaveUp, [])
  })
})

describe("the budget of answers that are not taken", () => {
  it("is a quarter, and the connections that have left the most are cut until it is kept", () => {
    const { budget, connection, gaveUp } = made()
    budget.setUntaken(connection("some"), 12)
    budget.setUntaken(connection("more"), 13)
    assert.deepStrictEqual(gaveUp, [])
    budget.setUntaken(connection("most"), 26)
    assert.deepStrictEqual(gaveUp, ["most"])
    budget.setUntaken(connection("one"), 1)
    assert.deepStrictEqual(gaveUp, ["most", "more"])
  })
})

describe("the budget of requests that wait for a lock", () => {
  it("is a quarter of the bytes, or half for a proved connection", () => {
    const { budget } = made()
    budget.begin(20, true)
    assert.isTrue(budget.mayWait(5, false))
    assert.isFalse(budget.mayWait(6, false))
    assert.isTrue(budget.mayWait(30, true))
    assert.isFalse(budget.mayWait(31, true))
    budget.end(20, true)
    assert.isTrue(budget.mayWait(25, false))
    assert.isTrue(budget.hasRoomFor(100))
  })

  it("has a number too, and counts no request that does not wait", () => {
    const budget = budgetOf({ maxWaiting: 1 })
    budget.begin(1, false)
    assert.isTrue(budget.mayWait(1, false))
    budget.begin(1, true)
    assert.isFalse(budget.mayWait(1, true))
    budget.end(1, true)
    assert.isTrue(budget.mayWait(1, false))
  })
})
