/**
 * A duration as a person types it, in a flag and in a variable alike.
 */
import * as Duration from "effect/Duration"
import * as Schema from "effect/Schema"
import * as SchemaGetter from "effect/SchemaGetter"

const millisOf: Record<string, number> = { ms: 1, s: 1000, m: 60_000, h: 3_600_000, d: 86_400_000 }
const short = /^(\d+(?:\.\d+)?)(ms|s|m|h|d)?$/
// The second half is what `Duration.fromInput` reads.
const durationText =
  /^(?:\d+(?:\.\d+)?(?:ms|s|m|h|d)?|\d+(?:\.\d+)?\s+(?:nano|micro|milli|second|minute|hour|day|week)s?|Infinity)$/

/** `500ms`, `30s`, `5m`, `1h`, `2d`, `5 seconds` or `Infinity`; a bare number is seconds. */
export const DurationText = Schema.String.check(
  Schema.isPattern(durationText, { message: "Expected a duration such as 500ms, 30s, 5m or 1h" })
).pipe(
  Schema.decodeTo(Schema.Duration, {
    decode: SchemaGetter.transform((text) => {
      const found = short.exec(text)
      return found === null
        ? Duration.fromInputUnsafe(text as Duration.Input)
        : Duration.millis(Number(found[1]) * millisOf[found[2] ?? "s"]!)
    }),
    encode: SchemaGetter.transform((duration) => `${Duration.toMillis(duration)}ms`)
  })
)
