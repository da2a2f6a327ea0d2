/**
 * The life of a lease, over all sequences of events to a depth, and over long random ones.
 */
import { assert, describe, it } from "@effect/vitest"
import { Effect, Schema } from "effect"
import * as Machine from "../../src/client/LeaseMachine.ts"

const settings: Machine.Settings = { ttl: 30_000, margin: 3_000 }
const maxHold = 70_000

/** What can come, by the time that has passed since the event before. An answer is to a renewal that left before that. */
const events: ReadonlyArray<(now: number) => Machine.Event> = [
  () => ({ _tag: "Alarm" }),
  (now) => ({ _tag: "Confirmed", sentAt: now, jitter: 1 }),
  (now) => ({ _tag: "Confirmed", sentAt: now - 25_000, jitter: 1.2 }),
  () => ({ _tag: "Failed" }),
  () => ({ _tag: "Refused", reason: "TakenAway" }),
  () => ({ _tag: "Refused", reason: "Revoked" }),
  () => ({ _tag: "Jumped", left: 1_000 }),
  () => ({ _tag: "Jumped", left: 0 }),
  () => ({ _tag: "Ended" }),
  () => ({ _tag: "Quiet" }),
  () => ({ _tag: "Detached" }),
  () => ({ _tag: "GivenBack" })
]
const delays = [0, 6_000, 28_000]

/** To which phases each may lead by one event. */
const next: Readonly<Record<Machine.Phase, ReadonlyArray<Machine.Phase>>> = {
  Held: ["Held", "Suspect", "Ending", "Lost", "Released"],
  Suspect: ["Suspect", "Held", "Ending", "Lost", "Released"],
  Ending: ["Ending", "Lost", "Released"],
  Lost: ["Lost", "Released"],
  Released: ["Released"]
}

interface Run {
  readonly state: Machine.State
  readonly now: number
  /** The newest request that was confirmed. */
  readonly confirmed: number
  readonly underWay: number
}

const begin = (): Run => ({
  state: Machine.begin(settings, 0, maxHold, 100, 1),
  now: 100,
  confirmed: 0,
  underWay: 0
})

const isOver = (phase: Machine.Phase) => phase === "Lost" || phase === "Released"

/** One step, with all that must hold of each. */
const step = (run: Run, event: Machine.Event, delay: number): Run => {
  const now = run.now + delay
  const before = run.state
  const { actions, state } = Machine.step(settings, before, event, now)
  const where = () => JSON.stringify({ before, event, now, state, actions })

  if (!next[before.phase].includes(state.phase)) assert.fail(`a way that there is not: ${where()}`)
  // What is relied on has time left, by each of its ends.
  const relied = Machine.isRelied(state)
  if (relied && !(now < state.deadline && now < (state.endsAt ?? Infinity))) {
    assert.fail(`relied on after its end: ${where()}`)
  }
  // The deadline is that of a request that was confirmed, and never later.
  const confirmed = event._tag === "Confirmed" ? Math.max(run.confirmed, event.sentAt) : run.confirmed
  if (relied && state.deadline > confirmed + settings.ttl - settings.margin) assert.fail(`too late an end: ${where()}`)
  // Over is over, and only what is relied on is renewed.
  if (isOver(before.phase) && actions.length > 0) assert.fail(`work after its end: ${where()}`)
  if (actions.includes("Renew") && !relied) assert.fail(`renewed without need: ${where()}`)
  // There is always an alarm by the end of what is relied on, and none else.
  const alarm = Machine.alarmAt(state)
  if (relied !== (alarm !== Infinity)) assert.fail(`no alarm, or one too many: ${where()}`)
  if (relied && (alarm > state.deadline || alarm > (state.endsAt ?? Infinity))) {
    assert.fail(`too late an alarm: ${where()}`)
  }
  // A renewal is under way, or will begin.
  if (relied && state.renewAt === Infinity && state.giveUpAt === undefined) assert.fail(`never renewed: ${where()}`)
  if ((state.phase === "Lost") !== (state.reason !== undefined) && state.phase !== "Released") {
    assert.fail(`a loss and its reason: ${where()}`)
  }
  const underWay = run.underWay + actions.filter((action) => action === "Renew").length -
    actions.filter((action) => action === "GiveUpRenewal").length
  return { state, now, confirmed, underWay }
}

describe("the machine of a lease", () => {
  it("keeps its promises over all sequences of four events", () => {
    let steps = 0
    const reached = new Set<Machine.Phase>()
    const explore = (run: Run, depth: number): void => {
      reached.add(run.state.phase)
      // What is released changes no more: `step` has seen that for each event already.
      if (depth === 0 || run.state.phase === "Released") return
      for (const event of events) {
        for (const delay of delays) {
          steps++
          explore(step(run, event(run.now + delay), delay), depth - 1)
        }
      }
    }
    explore(begin(), 4)
    assert.isAbove(steps, 200_000)
    assert.deepStrictEqual([...reached].toSorted(), ["Ending", "Held", "Lost", "Released", "Suspect"])
  })

  it.effect.prop(
    "keeps them over long ones, with any times",
    [Schema.Array(Schema.Tuple([Schema.Int, Schema.Int])).check(Schema.isMaxLength(60))],
    ([choices]) =>
      Effect.sync(() => {
        let run = begin()
        for (const [which, time] of choices) {
          const delay = Math.abs(time) % 15_000
          run = step(run, events[Math.abs(which) % events.length]!(run.now + delay), delay)
        }
      })
  )

  it("has renewed by the earlier of a third of the time to live and half of what is left", () => {
    for (const margin of [0, 3_000, 15_000, 25_000, 28_000]) {
      const state = Machine.begin({ ttl: 30_000, margin }, 0, Infinity, 0, 1)
      assert.strictEqual(state.renewAt, Math.min(10_000, (30_000 - margin) / 2))
    }
  })

  it("is lost by whatever comes after its deadline, and says so first", () => {
    for (const event of events) {
      const { state } = Machine.step(settings, begin().state, event(27_000), 27_000)
      assert.strictEqual(state.phase, "Lost", event(27_000)._tag)
      assert.strictEqual(state.reason, "Expired")
    }
  })

  it("gives up a renewal that takes too long, and asks again ever more slowly, by a second at the most", () => {
    let state = Machine.begin({ ttl: 300_000, margin: 0 }, 0, Infinity, 0, 1)
    const gaps: Array<number> = []
    let began = 0
    for (let now = 0; now < 280_000 && gaps.length < 12; now = Machine.alarmAt(state)) {
      const stepped = Machine.step({ ttl: 300_000, margin: 0 }, state, { _tag: "Alarm" }, now)
      state = stepped.state
      if (!stepped.actions.includes("Renew")) continue
      if (began > 0) gaps.push(now - began)
      began = now
      state = Machine.step({ ttl: 300_000, margin: 0 }, state, { _tag: "Failed" }, now).state
    }
    assert.deepStrictEqual(gaps.slice(0, 6), [50, 100, 200, 400, 800, 1_000])
    assert.isTrue(gaps.slice(5).every((gap) => gap === 1_000))
  })
})
