/**
 * `dlm top`: the names for which most wait, and that end soonest, look after look.
 */
import * as Command from "effect/cli/Command"
import * as Flag from "effect/cli/Flag"
import * as DateTime from "effect/DateTime"
import * as Duration from "effect/Duration"
import * as Effect from "effect/Effect"
import * as Option from "effect/Option"
import * as Queue from "effect/Queue"
import * as Result from "effect/Result"
import * as Schema from "effect/Schema"
import * as Stdio from "effect/Stdio"
import * as Stream from "effect/Stream"
import * as Inspection from "../client/Inspection.ts"
import { DurationText } from "../lib/DurationText.ts"
import { monotonicMillis } from "../lib/monotonic.ts"
import { quoted } from "../lib/quoted.ts"
import * as NodeProcess from "../node/NodeProcess.ts"
import * as Screen from "../node/Screen.ts"
import type { Talker } from "../transport/Talker.ts"
import { fieldsOfListed } from "./description.ts"
import * as Flags from "./Flags.ts"
import { type Failed, fromError, print, reporting } from "./Status.ts"
import * as Table from "./topTable.ts"

/** How often is looked, at the most: each look asks for all names. */
const leastEvery = Duration.millis(100)

/** How many names there are at the most, each with a request of its own where others wait for it. */
const maxCount = 1000

/** How many of them where there is no terminal that they are to fit. */
const usualCount = 20

const flags = {
  ...Flags.server,
  json: Flags.jsonFor("look, until it is interrupted"),
  prefix: Flags.prefix,
  every: Flag.String("every").pipe(
    Flag.withSchema(DurationText.check(
      Schema.makeFilter((every) =>
        (Duration.isFinite(every) && Duration.isGreaterThanOrEqualTo(every, leastEvery)) ||
        "Expected 100ms or more, and an end of it"
      )
    )),
    Flag.withDescription("How long after one look the next begins, such as 500ms, 5s (1s)"),
    Flag.withDefault(Duration.seconds(1))
  ),
  count: Flag.Int("count").pipe(
    Flag.withSchema(Schema.Int.check(Schema.isBetween({ minimum: 1, maximum: maxCount }))),
    Flag.withDescription(`At the most so many names; without it what fits the terminal, or ${usualCount}`),
    Flag.optional
  ),
  once: Flag.Boolean("once").pipe(
    Flag.withDescription("Look once, print what there is, and end"),
    Flag.withDefault(false)
  )
}

type TopFlags = Command.Command.Config.Infer<typeof flags>

/** The first so many by their order, and of all how many. No more are kept than are shown, whatever names there are. */
const namesOf = Effect.fnUntraced(function*(prefix: string, count: number) {
  let first = new Map<string, Inspection.Listed>()
  let names = 0
  let waiting = 0
  const keep = () => {
    const sorted = Array.from(first.values()).toSorted(Table.byUrgency)
    first = new Map(sorted.slice(0, count).map((one) => [one.name, one]))
  }
  yield* Stream.runForEach(Inspection.list(prefix), (one) =>
    Effect.sync(() => {
      // One that was taken meanwhile may be there twice.
      if (!first.has(one.name)) {
        names++
        waiting += one.waiting
      }
      first.set(one.name, one)
      if (first.size >= 2 * maxCount) keep()
    }))
  keep()
  return { rows: Array.from(first.values()), names, waiting }
})

/** How many names are asked about at a time. */
const asks = 8

/** Since when somebody waits. It may not wait any more. */
const withLongest = (one: Inspection.Listed): Effect.Effect<Table.Row, never, Talker> =>
  one.waiting === 0 ? Effect.succeed(one) : Effect.match(Inspection.describe(one.name), {
    onFailure: () => one,
    onSuccess: ({ waiters = [] }): Table.Row => {
      const [first, ...others] = waiters
      return first === undefined
        ? one
        : { ...one, waitingSince: others.reduce((least, { since }) => DateTime.min(least, since), first.since) }
    }
  })

/** The first so many of the names that begin so, with what is to be shown of them. */
export const lookAt = Effect.fnUntraced(function*(prefix: string, count: number) {
  const { names, rows, waiting } = yield* namesOf(prefix, count)
  const described = yield* Effect.forEach(rows, withLongest, { concurrency: asks })
  return { at: yield* DateTime.now, rows: described, names, waiting } satisfies Table.Look
})

/**
 * A rest is so many times as long as looks take, so that a server with many names has others to serve: as the shorter of the
 * last two, since a single long one has waited for a server that was away.
 */
const restShare = 10

/** Looks again and again, and tells each look, or why there was none. The first is there already. */
const looking = <R>(
  look: Effect.Effect<Table.Look, { readonly _tag: string; readonly message: string }, Talker>,
  every: Duration.Duration,
  tell: (looked: Result.Result<Table.Look, Failed>) => Effect.Effect<void, R>
): Effect.Effect<never, R, Talker> =>
  Effect.gen(function*() {
    let [before, took] = [0, 0]
    while (true) {
      yield* Effect.sleep(Duration.max(every, Duration.millis(Math.min(before, took) * restShare)))
      const begun = yield* monotonicMillis
      const looked = yield* Effect.result(Effect.mapError(look, fromError))
      before = took
      took = Result.isSuccess(looked) ? (yield* monotonicMillis) - begun : 0
      yield* tell(looked)
    }
  })

const fieldsOf = (look: Table.Look) => ({
  at: DateTime.formatIso(look.at),
  held: look.names,
  waiting: look.waiting,
  names: look.rows.map((row) => ({
    ...fieldsOfListed(row),
    kind: Table.kindOf(row),
    ...(row.waitingSince === undefined ? {} : { longestWait: Table.since(row.waitingSince, look) })
  })),
  more: Math.max(0, look.names - look.rows.length)
})

const printLook = (look: Table.Look) => print(quoted(fieldsOf(look)))

const printFailed = ({ error, message }: Failed) =>
  Effect.flatMap(DateTime.now, (at) => print(quoted({ at: DateTime.formatIso(at), error, message })))

// A key that is no letter, such as an arrow, comes as an escape with characters behind.
const behindEscape = /^(?:\[[\d;?]*[ -/]*[@-~]|O?.)?/s

/** Whether it was typed that it shall end. Keys that are typed fast come together. */
const ends = (text: string): boolean =>
  text.split("\u001b").some((part, i) => /q/i.test(i === 0 ? part : part.replace(behindEscape, "")))

/** Ends once it is typed that it shall. Ctrl-C is a key like others while keys are read one by one. */
const untilTyped = Effect.fnUntraced(function*(screen: Screen.Screen, draw: () => void) {
  while (true) {
    const event = yield* Queue.take(screen.events)
    if (event._tag === "Resized") draw()
    else if (event.text.includes("\u0003")) {
      return yield* NodeProcess.setExitStatus(NodeProcess.statusOfSignal("SIGINT"))
    } else if (ends(event.text)) return
  }
})

/** How long a look may take before it is said that it does. */
const slow = Duration.seconds(3)

/** Shows it until its user ends it. */
const live = Effect.fnUntraced(function*({ every, prefix }: TopFlags, look: ReturnType<typeof lookAt>) {
  let view: Table.View = { prefix, look: yield* look }
  const screen = yield* Screen.open
  const changed = yield* Queue.sliding<void>(1)
  const draw = () => void Queue.offerUnsafe(changed, undefined)
  const show = (next: Partial<Table.View>) =>
    Effect.sync(() => {
      view = { ...view, ...next }
      draw()
    })
  const last = () => DateTime.formatIso(view.look.at)
  // A server that is silent is one that is away, and its user need not wait to hear of it until that is sure.
  const watched = Effect.raceFirst(
    look,
    Effect.andThen(
      Effect.sleep(slow),
      Effect.andThen(
        Effect.suspend(() => show({ problem: view.problem ?? `no whole answer yet: this is as of ${last()}` })),
        Effect.never
      )
    )
  )
  yield* Effect.forkScoped(looking(watched, every, (looked) =>
    Result.isSuccess(looked)
      ? show({ look: looked.success, problem: undefined })
      : show({ problem: `no answer, this is as of ${last()}: ${looked.failure.message}` })))
  const drawing = Effect.gen(function*() {
    while (true) {
      yield* screen.draw(Table.draw(view, yield* Screen.size))
      yield* Queue.take(changed)
    }
  })
  yield* Effect.raceFirst(drawing, untilTyped(screen, draw))
}, Effect.scoped)

const run = Effect.fnUntraced(function*(flags: TopFlags) {
  const { every, json, once, prefix } = flags
  const isTerminal = yield* (yield* Stdio.Stdio).stdoutIsTerminal
  const look = Effect.flatMap(
    Screen.size,
    ({ rows }) => lookAt(prefix, Option.getOrElse(flags.count, () => isTerminal && !json ? rows : usualCount))
  )
  if (json) {
    yield* printLook(yield* look)
    if (once) return
    return yield* looking(
      look,
      every,
      Result.match({ onSuccess: printLook, onFailure: printFailed })
    )
  }
  if (isTerminal && !once) return yield* live(flags, look)
  const { columns } = yield* Screen.size
  const table = Table.draw({ prefix, look: yield* look }, { columns: isTerminal ? columns : Infinity, rows: Infinity })
  yield* print(table.join("\n"))
})

export const top = Command.make("top", flags, (flags) =>
  Effect.gen(function*() {
    yield* Effect.provideContext(run(flags), yield* Flags.talker(flags))
  }).pipe(Effect.scoped, reporting(flags.json))).pipe(
    Command.withDescription(
      "Show the names for which most wait, and that end soonest, until q or Ctrl-C; once, where there is no terminal"
    ),
    Command.withExamples([
      { command: "dlm top order/", description: "Only the names that begin so" },
      { command: "dlm top --once --count 5", description: "The five for which most wait" }
    ])
  )
