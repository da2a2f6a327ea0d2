import { assert, describe, it } from "@effect/vitest"
import { Limits } from "effect-dlm/server"
import { networkOf } from "../../src/server/Address.ts"
import { Admission } from "../../src/server/Admission.ts"
import { type Account, ByteBudget } from "../../src/server/ByteBudget.ts"

const budgetOf = (limits: Partial<Limits.Limits>, maxUnprovedLineBytes = 10) =>
  new ByteBudget({ ...Limits.defaults, ...limits }, () => maxUnprovedLineBytes)

/** A budget of 100 bytes, connections in it, and the names of those that gave up something. */
const made = (limits: Partial<Limits.Limits> = {}) => {
  const budget = budgetOf({ maxInFlightBytes: 100, ...limits })
  const gaveUp: Array<string> = []
  const connection = (name: string, address?: string): Account => {
    const account: Account = {
      unfinishedBytes: 0,
      untakenBytes: 0,
      isProved: false,
      address,
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
      address: undefined,
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
    budget.begin(1, false, proved)
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
    budget.begin(101, false, connection("idle"))
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
    const { budget, connection } = made()
    const [unproved, proved] = [connection("unproved"), connection("proved")]
    budget.prove(proved)
    budget.begin(20, true, unproved)
    assert.isTrue(budget.mayWait(5, unproved))
    assert.isFalse(budget.mayWait(6, unproved))
    assert.isTrue(budget.mayWait(30, proved))
    assert.isFalse(budget.mayWait(31, proved))
    budget.end(20, true, unproved)
    assert.isTrue(budget.mayWait(25, unproved))
    assert.isTrue(budget.hasRoomFor(100))
  })

  it("has a number too, and counts no request that does not wait", () => {
    const { budget, connection } = made({ maxWaiting: 1 })
    const one = connection("one")
    budget.begin(1, false, one)
    assert.isTrue(budget.mayWait(1, one))
    budget.begin(1, true, one)
    assert.isFalse(budget.mayWait(1, one))
    budget.end(1, true, one)
    assert.isTrue(budget.mayWait(1, one))
  })

  it("leaves half of the places to those who wait for a lock", () => {
    const { budget, connection } = made({ maxWaiting: 8, maxWaitingPerAddress: 4, maxInFlightBytes: 800 })
    const [one, other] = [connection("one", "192.0.2.1"), connection("other", "192.0.2.2")]
    budget.begin(1, true, one)
    assert.isTrue(budget.mayWait(1, one, true))
    budget.begin(1, true, one)
    assert.isFalse(budget.mayWait(1, one, true))
    assert.isTrue(budget.mayWait(1, one))
    assert.isTrue(budget.mayWait(98, other, true))
    assert.isFalse(budget.mayWait(99, other, true))
    budget.begin(1, true, other)
    budget.begin(1, true, other)
    assert.isFalse(budget.mayWait(1, connection("third", "192.0.2.3"), true))
  })

  it("has a share for each address, of places and of bytes, over all of its connections", () => {
    const { budget, connection } = made({ maxWaiting: 8, maxWaitingPerAddress: 2, maxInFlightBytes: 160 })
    const [first, second] = [connection("first", "192.0.2.1"), connection("second", "192.0.2.1")]
    const elsewhere = connection("elsewhere", "192.0.2.2")
    budget.begin(1, true, first)
    budget.begin(1, true, second)
    assert.isFalse(budget.mayWait(1, first))
    assert.isTrue(budget.mayWait(1, elsewhere))
    budget.end(1, true, second)
    // A quarter of the quarter: 10 bytes, of which one is taken.
    assert.isTrue(budget.mayWait(9, second))
    assert.isFalse(budget.mayWait(10, second))
    budget.end(1, true, first)
    // A single one may always wait.
    assert.isTrue(budget.mayWait(40, first))
    assert.isFalse(budget.mayWait(41, first))
  })
})

describe("an address", () => {
  it("is one of IPv4, however it is written, or a network of IPv6", () => {
    const same = (...addresses: ReadonlyArray<string>) => new Set(addresses.map(networkOf)).size === 1
    assert.isTrue(same("192.0.2.1", "::ffff:192.0.2.1", "::FFFF:192.0.2.1"))
    assert.isFalse(same("192.0.2.1", "192.0.2.2"))
    assert.isTrue(same("2001:db8::1", "2001:db8::ffff:1:2:3", "2001:0DB8:0:0:9::", "2001:db8:0:0:1:2:192.0.2.1"))
    assert.isFalse(same("2001:db8::1", "2001:db8:0:1::1"))
    assert.isFalse(same("2001:db8:1::", "2001:db8:2::"))
    assert.isTrue(same("::1", "::2", "::", "0::1"))
    assert.isFalse(same("1::", "::1"))
    // Link-local addresses are of a network of their own on each interface.
    assert.isFalse(same("fe80::1%eth0", "fe80::1%eth1"))
    assert.isTrue(same("fe80::1%eth0", "fe80::2%eth0"))
  })

  it("has a share of the connections", () => {
    const admission = new Admission({ ...Limits.defaults, maxConnectionsPerAddress: 1 })
    const leave = admission.admit("2001:db8::1")
    assert.isDefined(leave)
    assert.isUndefined(admission.admit("2001:db8::2"))
    assert.isDefined(admission.admit("2001:db8:0:1::1"))
    leave!()
    assert.isDefined(admission.admit("2001:db8::3"))
  })
})
