/**
 * Who waits for ever, held against all that can happen: every order in which those who work may end.
 */
import { assert, describe, it } from "@effect/vitest"
import { claimed, deadlocksIn, type Name, stuckIn, type Waiting } from "../../src/server/Deadlock.ts"
import type { Limit, Weight } from "../../src/store/Store.ts"
import { Seeded } from "../support/random.ts"

/** One who holds some names, and waits for one, perhaps; by one claim with all whose waits came at the same time. */
interface Party {
  readonly id: number
  readonly holds: ReadonlyArray<{ readonly name: string; readonly weight: Weight }>
  readonly waits: { readonly name: string; readonly weight: Weight; readonly came: number } | undefined
  /** Whether its wait ends by itself once another of its fibers is done, so that nothing it holds waits for it. */
  readonly isFree: boolean
}

interface Program {
  /** Of each name how it is held. */
  readonly limits: Readonly<Record<string, Limit | undefined>>
  readonly parties: ReadonlyArray<Party>
}

/** Whether one more fits beside others, as a server lets in. */
const fits = (limit: Limit | undefined, held: ReadonlyArray<Weight>, weight: Weight): boolean => {
  if (limit === undefined) return held.length === 0
  if (limit === "shared") return weight === "all" ? held.length === 0 : !held.includes("all")
  return held.reduce((sum: number, one) => sum + Number(one), Number(weight)) <= limit
}

/** What is left when some have ended: all that they held is free, and whoever is first and fits is let in. */
interface State {
  readonly ended: ReadonlySet<number>
  readonly granted: ReadonlySet<number>
}

/** The claims for a name, in their order: those who wait by each. */
const claimsOf = (parties: ReadonlyArray<Party>, name: string): ReadonlyArray<ReadonlyArray<Party>> => {
  const waiting = parties.filter(({ waits }) => waits?.name === name)
  return Array.from(Map.groupBy(waiting, ({ waits }) => waits!.came))
    .toSorted(([one], [other]) => one - other).map(([, claim]) => claim)
}

const grant = ({ limits, parties }: Program, { ended, granted }: State): State => {
  const next = new Set(granted)
  for (const name of Object.keys(limits)) {
    const held: Array<Weight> = []
    for (const { holds, id } of parties) {
      if (!ended.has(id)) held.push(...holds.filter((one) => one.name === name).map(({ weight }) => weight))
    }
    const claims = claimsOf(parties, name)
    for (const claim of claims) {
      if (claim.some(({ id }) => next.has(id) && !ended.has(id))) held.push(claim[0]!.waits!.weight)
    }
    for (const claim of claims) {
      if (claim.some(({ id }) => next.has(id))) continue
      if (!fits(limits[name], held, claim[0]!.waits!.weight)) break
      for (const { id } of claim) next.add(id)
      held.push(claim[0]!.waits!.weight)
    }
  }
  return { ended, granted: next }
}

/** All who are let in, or go on without, in any order of events. */
const canGo = (program: Program): ReadonlySet<number> => {
  const gone = new Set<number>()
  const seen = new Set<string>()
  const visit = (state: State): void => {
    const key = `${[...state.ended].toSorted().join()}/${[...state.granted].toSorted().join()}`
    if (seen.has(key)) return
    seen.add(key)
    for (const { holds, id, isFree, waits } of program.parties) {
      if (state.ended.has(id)) continue
      if (waits !== undefined && !state.granted.has(id)) {
        // What it holds goes all the same, and it waits on.
        if (!isFree || holds.length === 0) continue
        const rest = program.parties.map((party) => party.id === id ? { ...party, holds: [] } : party)
        for (const other of canGo({ ...program, parties: rest })) gone.add(other)
        continue
      }
      if (waits !== undefined) gone.add(id)
      visit(grant(program, { ended: new Set([...state.ended, id]), granted: state.granted }))
    }
  }
  visit(grant(program, { ended: new Set(), granted: new Set() }))
  return gone
}

const digestOf = (id: number, name: string) => `${id}/${name}`

const namesOf = ({ limits, parties }: Program): ReadonlyArray<Name<Waiting<number>>> =>
  Object.entries(limits).map(([name, limit]) => ({
    name,
    limit,
    holders: parties.flatMap(({ holds, id }) =>
      holds.filter((one) => one.name === name).map(({ weight }) => ({
        digest: digestOf(id, name),
        weight: limit === undefined ? "all" : weight,
        label: `${id}`
      }))
    ),
    waiting: claimsOf(parties, name).flatMap((claim) => {
      const { came, weight } = claim[0]!.waits!
      const asking = claim.map(({ holds, id, isFree }, at) => ({
        by: id,
        came: came + at,
        within: isFree ? [] : holds.map((one) => digestOf(id, one.name))
      }))
      return claimed({ came, limit, weight, label: undefined }, asking)
    })
  }))

/** What others were let in to before it began to wait, and now waits: any state that a server can be in. */
const generate = (random: Seeded): Program => {
  const limits: Record<string, Limit | undefined> = {}
  for (const name of ["a", "b", "c"]) limits[name] = random.pick([undefined, undefined, 1, 2, 3, "shared"])
  const parties: Array<Party> = []
  const count = 2 + random.below(4)
  const weightOf = (name: string): Weight => {
    const limit = limits[name]
    if (limit === undefined) return "all"
    return limit === "shared" ? random.pick<Weight>([1, 1, "all"]) : 1 + random.below(limit)
  }
  const held = (name: string) =>
    parties.flatMap(({ holds }) => holds.filter((one) => one.name === name).map(({ weight }) => weight))
  for (let id = 0; id < count; id++) {
    const holds = ["a", "b", "c"].filter(() => random.chance(0.5)).map((name) => ({ name, weight: weightOf(name) }))
      .filter(({ name, weight }) => fits(limits[name], held(name), weight))
    const name = random.pick(["a", "b", "c"])
    const own = random.chance(0.8) ? { name, weight: weightOf(name), came: random.uint32() } : undefined
    const others = parties.flatMap(({ waits }) => waits === undefined ? [] : [waits])
    const waits = others.length > 0 && random.chance(0.25) ? random.pick(others) : own
    parties.push({ id, holds, waits, isFree: random.chance(0.1) })
  }
  return { limits, parties }
}

const everybody = () => true

const byOf = (waiting: Iterable<Waiting<number>>) => new Set(Array.from(waiting, ({ by }) => by).flat())

const programs = 20_000

describe("who waits for ever", () => {
  it(`is whoever is let in by no order of events, in ${programs} states`, { timeout: 120_000 }, () => {
    const random = new Seeded(21)
    let deadlocks = 0
    let joined = 0
    for (let i = 0; i < programs; i++) {
      const program = generate(random)
      const go = canGo(program)
      const stuck = [...byOf(stuckIn(namesOf(program), everybody))].toSorted()
      const never = program.parties.filter(({ id, waits }) => waits !== undefined && !go.has(id)).map(({ id }) => id)
      assert.deepStrictEqual(stuck, never, JSON.stringify(program))
      if (stuck.length > 0) deadlocks++
      const claims = Object.keys(program.limits).flatMap((name) => claimsOf(program.parties, name))
      if (claims.some((claim) => claim.length > 1 && claim.some(({ id }) => stuck.includes(id)))) joined++
    }
    assert.isAbove(deadlocks, programs / 20)
    assert.isAbove(joined, programs / 40)
  })

  it("is nobody any more, once the youngest of each cycle has failed", { timeout: 120_000 }, () => {
    const random = new Seeded(22)
    for (let i = 0; i < programs; i++) {
      const program = generate(random)
      const failed = deadlocksIn(namesOf(program), everybody, 100).flatMap(({ youngest }) => youngest.by)
      assert.strictEqual(new Set(failed).size, failed.length)
      const stuck = byOf(stuckIn(namesOf(program), everybody))
      for (const id of failed) assert.isTrue(stuck.has(id))
      // One that has failed holds on for a while, and then lets go of what it holds.
      const rest = program.parties.map((party) => failed.includes(party.id) ? { ...party, waits: undefined } : party)
      const go = canGo({ ...program, parties: rest })
      for (const { id, waits } of rest) assert.isTrue(waits === undefined || go.has(id), JSON.stringify(program))
      // None of them was failed in vain.
      for (const id of failed) {
        const others = rest.map((party) => party.id === id ? program.parties[id]! : party)
        assert.isFalse(canGo({ ...program, parties: others }).has(id), JSON.stringify(program))
      }
    }
  })
})
