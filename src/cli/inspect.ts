/**
 * `dlm ls`, `show`, `watch` and `revoke`: who holds which name, who waits, and how it is freed.
 */
import * as Argument from "effect/cli/Argument"
import * as Command from "effect/cli/Command"
import * as Flag from "effect/cli/Flag"
import * as DateTime from "effect/DateTime"
import * as Effect from "effect/Effect"
import * as Option from "effect/Option"
import * as Schema from "effect/Schema"
import * as Stream from "effect/Stream"
import * as Inspection from "../client/Inspection.ts"
import type { Description } from "../client/Locker.ts"
import { quoted } from "../lib/quoted.ts"
import { fieldsOf, fieldsOfListed, lineOf, linesOf, waiterFields, waitersOf } from "./description.ts"
import * as Flags from "./Flags.ts"
import { print, reporting } from "./Status.ts"

const common = { ...Flags.server, json: Flags.json }

const name = Argument.String("name").pipe(
  Argument.withSchema(Flags.someText),
  Argument.withDescription("Name of the lock")
)

// A name is another's text, as a label is.
const lineOfListed = ({ held, name, waiting, ...holder }: Inspection.Listed): string =>
  [
    `${quoted(name)}: ${held > 1 ? `${held} holders, the first ` : ""}${lineOf(holder)}`,
    ...(waiting > 0 ? [`${waiting} waiting`] : [])
  ].join(", ")

export const ls = Command.make("ls", { ...common, prefix: Flags.prefix }, (flags) =>
  Effect.gen(function*() {
    const names = Inspection.list(flags.prefix).pipe(
      Stream.runForEach((one) => print(flags.json ? quoted(fieldsOfListed(one)) : lineOfListed(one)))
    )
    yield* Effect.provideContext(names, yield* Flags.talker(flags))
  }).pipe(Effect.scoped, reporting(flags.json))).pipe(
    Command.withDescription("List the names that are held: by whom, since when, and how many wait (a line each)")
  )

const shown = (json: boolean, name: string, description: Description): string => {
  if (json) return quoted({ name, ...fieldsOf(description), ...waiterFields(description) })
  const { holders } = description
  return [...(holders.length === 0 ? ["free"] : []), ...linesOf(description), ...waitersOf(description)].join("\n")
}

export const show = Command.make("show", { ...common, name }, (flags) =>
  Effect.gen(function*() {
    const description = yield* Effect.provideContext(Inspection.describe(flags.name), yield* Flags.talker(flags))
    yield* print(shown(flags.json, flags.name, description))
  }).pipe(Effect.scoped, reporting(flags.json))).pipe(
    Command.withDescription("Show who holds a name, and who waits for it, in their order")
  )

export const watch = Command.make("watch", { ...common, name }, (flags) =>
  Effect.gen(function*() {
    const changes = Inspection.watch(flags.name).pipe(
      Stream.runForEach((description) =>
        Effect.flatMap(DateTime.now, (now) =>
          print(
            flags.json
              ? shown(true, flags.name, description)
              : `${DateTime.formatIso(now)}\n${shown(false, flags.name, description)}`
          ))
      )
    )
    yield* Effect.provideContext(changes, yield* Flags.talker(flags))
  }).pipe(Effect.scoped, reporting(flags.json))).pipe(
    Command.withDescription("Show a name now, and whenever something about it changes, until it is interrupted")
  )

const fence = Flag.String("fence").pipe(
  Flag.withSchema(
    Schema.String.check(
      Schema.isPattern(/^\d{1,39}$/, { message: "Expected a whole number, as dlm show --json tells it" })
    )
      .pipe(Schema.decodeTo(Schema.BigIntFromString))
  ),
  Flag.withDescription("Only the tenure with this fence, as dlm show --json tells it; else all of the name"),
  Flag.optional
)

export const revoke = Command.make("revoke", {
  ...common,
  identity: Flags.identity,
  name,
  reason: Flag.String("reason").pipe(
    Flag.withSchema(Flags.someText),
    Flag.withDescription("Why: for the log, and for whoever holds it")
  ),
  fence,
  force: Flag.Boolean("force").pipe(
    Flag.withDescription(
      "Free the name at once. Its holder may still be at work beside the next: only fences protect then. " +
        "Without it the name stays taken until its end, and is not renewed"
    ),
    Flag.withDefault(false)
  )
}, (flags) =>
  Effect.gen(function*() {
    const { force, json, name, reason } = flags
    const revoking = Inspection.revoke(name, {
      reason,
      force,
      fence: Option.getOrUndefined(flags.fence),
      identity: yield* Flags.presentedIdentity(flags.identity)
    })
    const count = yield* Effect.provideContext(revoking, yield* Flags.talker(flags))
    const what = `revoked ${count === 1 ? "1 tenure" : `${count} tenures`}`
    const then = force ? "the name is free" : "the name stays taken until its end"
    yield* print(json ? quoted({ status: "revoked", name, count, force }) : `${what}: ${then}`)
  }).pipe(Effect.scoped, reporting(flags.json))).pipe(
    Command.withDescription("Take a lock away from its holder, as an admin (dlm identity --admin)")
  )
