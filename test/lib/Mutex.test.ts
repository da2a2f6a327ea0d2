/**
 * A mutex beside its plain model: a list of those who asked, of which a first part is inside.
 */
import { assert, describe, it } from "@effect/vitest"
import { Effect, Schema } from "effect"
import { Mutex, Place } from "../../src/lib/Mutex.ts"

/** How many of a list, from its first on, are inside: one, or as many as share. */
const insideOf = (places: ReadonlyArray<Place>): number => {
  const alone = places.findIndex(({ isShared }) => !isShared)
  return alone === 0 ? 1 : alone === -1 ? places.length : alone
}

const Steps = Schema.Array(Schema.Struct({ isShared: Schema.Boolean, isLeave: Schema.Boolean, which: Schema.Natural }))

describe("Mutex", () => {
  it.effect.prop("has inside whom its model has, in the order of asking", [Steps], ([steps]) =>
    Effect.sync(() => {
      const mutex = new Mutex()
      let present: Array<Place> = []
      const entered: Array<Place> = []
      for (const { isLeave, isShared, which } of steps) {
        if (isLeave && present.length > 0) {
          const place = present[which % present.length]!
          present = present.filter((one) => one !== place)
          mutex.leave(place)
          // Again, which changes nothing.
          mutex.leave(place)
        } else {
          const place = new Place(isShared)
          place.resume = () => entered.push(place)
          present.push(place)
          const isInside = mutex.join(place)
          if (isInside) entered.push(place)
        }
        const inside = insideOf(present)
        assert.deepStrictEqual(present.map((one) => one.isInside), present.map((_, i) => i < inside))
        assert.deepStrictEqual(present.filter((one) => entered.includes(one)), present.slice(0, inside))
        assert.strictEqual(mutex.isIdle, present.length === 0)
      }
    }), { arbitrary: { runs: 1000, size: 60 } })
})
