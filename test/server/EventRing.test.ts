/**
 * The ring of events: it is a list of the last ones, whatever is written to it.
 */
import { assert, describe, it } from "@effect/vitest"
import { Effect, Schema } from "effect"
import { type Event, EventRing } from "../../src/server/EventRing.ts"

const Text = Schema.String.check(Schema.isMaxLength(12))
const text = Schema.optionalKey(Text)
const Weight = Schema.Union([Schema.Literal("all"), Schema.Literal(1), Schema.Literal(999_999_999)])
const Fence = Schema.Union([
  Schema.Literal(0n),
  Schema.Literal(7n),
  Schema.Literal(2n ** 64n - 1n),
  Schema.Literal(2n ** 64n),
  Schema.Literal(10n ** 38n)
])

const AnEvent = Schema.Struct({
  event: Schema.Literals(["Taken", "Released", "Expired", "Lost", "Revoked", "Refused", "Deadlock"]),
  name: Text,
  label: text,
  fence: Schema.optionalKey(Fence),
  limit: Schema.optionalKey(Schema.Union([Schema.Literal("shared"), Schema.Literal(5)])),
  weight: Schema.optionalKey(Weight),
  millis: Schema.optionalKey(Schema.Literals([0, 1.5, 1e12])),
  who: text,
  reason: text
})

const fields = ["label", "fence", "limit", "weight", "millis", "who", "reason"] as const

/** As it is read: what is not there is `undefined`. */
const asRead = (event: Event, number: number) => ({
  number,
  at: number * 10,
  event: event.event,
  name: event.name,
  ...Object.fromEntries(fields.map((field) => [field, event[field]]))
})

const sizeOf = ({ label = "", name, reason = "", who = "" }: Event) =>
  name.length + label.length + who.length + reason.length

/** The same in the plainest way: all events, of which the last that fit are kept. */
const lastOf = (events: ReadonlyArray<Event>, places: number, room: number) => {
  const numbered = events.map((event, i) => [event, i + 1] as const)
  let left = room
  let count = 0
  for (const [event] of numbered.toReversed()) {
    left -= sizeOf(event)
    if (left < 0 || count === places) break
    count++
  }
  return numbered.slice(numbered.length - count)
}

const Events = Schema.Array(AnEvent).check(Schema.isMaxLength(60))

describe("EventRing", () => {
  for (const [places, bytes] of [[1, 1024], [3, 128], [7, 64], [50, 256], [100, 1_000_000]] as const) {
    it.effect.prop(
      `keeps the last of what was written: ${places} events, ${bytes} bytes`,
      [Events],
      ([events]) =>
        Effect.sync(() => {
          // It begins with little room, and takes more.
          const ring = new EventRing(places, bytes, 4)
          events.forEach((event, i) => {
            ring.write((i + 1) * 10, event)
            const expected = lastOf(
              events.slice(0, i + 1),
              places,
              Math.min(bytes / 2, 2 ** Math.floor(Math.log2(bytes / 2)))
            )
            assert.deepStrictEqual([ring.first, ring.next], [i + 2 - expected.length, i + 2])
            for (const [kept, number] of expected) {
              assert.deepStrictEqual({ ...ring.read(number) } as unknown, asRead(kept, number))
              assert.strictEqual(ring.sizeOf(number), sizeOf(kept))
              assert.isTrue(ring.isUnder(number, kept.name.slice(0, i % 5)))
              assert.isFalse(ring.isUnder(number, `${kept.name}x`))
              assert.strictEqual(ring.isUnder(number, "a"), kept.name.startsWith("a"))
            }
          })
        }),
      { arbitrary: { runs: 60 } }
    )
  }

  it("reads long texts, also over the place where it goes round", () => {
    const ring = new EventRing(10, 2 * 2 ** 15)
    for (let i = 0; i < 20; i++) {
      const name = String(i).repeat(9000)
      const reason = `${i}🔑\ud800`.repeat(10)
      ring.write(0, { event: "Lost", name, reason })
      const read = ring.read(ring.next - 1)
      assert.isTrue(read.name === name && read.reason === reason, String(i))
    }
  })
})
