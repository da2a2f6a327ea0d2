/**
 * `dlm log`: what has happened to names, as a server tells it.
 */
import * as Command from "effect/cli/Command"
import * as Flag from "effect/cli/Flag"
import * as DateTime from "effect/DateTime"
import * as Duration from "effect/Duration"
import * as Effect from "effect/Effect"
import * as Option from "effect/Option"
import * as Schema from "effect/Schema"
import * as Stream from "effect/Stream"
import * as Inspection from "../client/Inspection.ts"
import { quoted } from "../lib/quoted.ts"
import * as Flags from "./Flags.ts"
import { print, reporting } from "./Status.ts"

/** What a label is to an event: of one that others do to it, whose tenure that was. */
const by: { readonly [Event in Inspection.LoggedEvent["event"]]?: string } = { Taken: "by", Released: "by", Lost: "by" }

// Names, labels and reasons are others' text: quoted as JSON they are one line, and change no terminal.
const lineOf = (
  { at, event, fence, label, lasted, limit, name, reason, weight, who }: Inspection.LoggedEvent
): string => {
  const verb = event === "Taken" ? "waited" : "held"
  const parts = [
    `${DateTime.formatIso(at)} ${event === "Refused" ? "refused to revoke" : event.toLowerCase()} ${quoted(name)}`,
    label === undefined ? undefined : `${by[event] ?? "of"} ${quoted(label)}`,
    fence === undefined ? undefined : `fence ${fence}`,
    weight === undefined ? undefined : `weight ${weight} of ${limit ?? "?"}`,
    lasted === undefined ? undefined : `${verb} ${Duration.isZero(lasted) ? "0ms" : Duration.format(lasted)}`,
    who === undefined ? undefined : `by ${quoted(who)}`,
    reason === undefined ? undefined : quoted(reason)
  ]
  return parts.filter((part) => part !== undefined).join(", ")
}

const encode = Schema.encodeSync(Inspection.LoggedEvent)

export const log = Command.make("log", {
  ...Flags.server,
  json: Flags.jsonFor("event"),
  prefix: Flags.prefix,
  follow: Flag.Boolean("follow").pipe(
    Flag.withDescription("Go on with what happens next, until it is interrupted"),
    Flag.withDefault(false)
  ),
  count: Flag.Int("count").pipe(
    Flag.withSchema(Schema.Int.check(Schema.isGreaterThanOrEqualTo(0))),
    Flag.withDescription("Only so many of the last events"),
    Flag.optional
  )
}, (flags) =>
  Effect.gen(function*() {
    const { follow, json, prefix } = flags
    const shown = (event: Inspection.LoggedEvent) => print(json ? quoted(encode(event)) : lineOf(event))
    const printing = Effect.gen(function*() {
      const { after, events } = yield* lastOf(prefix, Option.getOrElse(flags.count, () => Infinity))
      yield* Effect.forEach(events, shown, { discard: true })
      if (follow) yield* Stream.runForEach(Inspection.log(prefix, { after, follow }), shown)
    })
    yield* Effect.provideContext(printing, yield* Flags.talker(flags))
  }).pipe(Effect.scoped, reporting(flags.json))).pipe(
    Command.withDescription(
      "Tell what has happened to names: who has taken them, given them back, lost them (a line each)"
    )
  )

/** The last events that are kept, in pages from the oldest on, so that no more are held than are asked for. */
const lastOf = Effect.fnUntraced(function*(prefix: string, count: number) {
  const last: Array<Inspection.LoggedEvent> = []
  let after: string | undefined
  while (true) {
    const page: Inspection.LogPage = yield* Inspection.logPage(prefix, { after })
    after = page.after
    if (page.events.length === 0) return { events: last, after }
    last.push(...page.events)
    if (last.length > count) last.splice(0, last.length - count)
  }
})
