/**
 * What a lock is for beyond counting: a holder that is killed, one that is paused, and permits.
 */
import { Console, Effect, Queue, Schema } from "effect"
import * as Processes from "./Processes.ts"
import * as Stage from "./Stage.ts"

/** What was promised did not come about. */
export class Broken extends Schema.TaggedError<Broken>()("Broken", { promise: Schema.String }) {
  override get message() {
    return `a promise is broken: ${this.promise}`
  }
}

type Show = Effect.Success<ReturnType<typeof Stage.make>>

/** Starts processes that are ready, and a stage for them. */
const begin = Effect.fnUntraced(function*(names: ReadonlyArray<string>) {
  const told = yield* Queue.unbounded<Processes.Told, Processes.Ended>()
  const processes = yield* Effect.forEach(names, (name) => Processes.start("holder.ts", name, told))
  yield* Effect.replicateEffect(Queue.take(told), names.length, { discard: true })
  const show = yield* Stage.make(names)
  const seen = shownBy(show)
  return {
    processes,
    show,
    told,
    until: (who: string, beginning: string) => Processes.until(told, who, beginning, seen)
  }
})

const shownBy = (show: Show) => ({ line, who }: Processes.Told): Effect.Effect<void> => {
  const [what = "", fence] = line.split(" ")
  switch (what) {
    case "holds":
      return show(who, "holds", `holds it, under fence ${fence}`)
    case "permit":
      return show(who, "holds", "holds a permit")
    case "ends":
      return show(who, "waits", "has given it back")
    case "done":
      return show(who, "gone", "is done")
    case "lost":
      return show(who, "waits", "learns of its loss")
    default:
      return Effect.void
  }
}

/** A holder is killed: the next has the lock once its time to live is over. */
export const killed = Effect.gen(function*() {
  yield* Console.log(
    "\nA holder is killed (kill -9). The next has the lock once its time to live, 2 seconds, is over.\n"
  )
  const { processes: [a, b], show, until } = yield* begin(["A", "B"])
  yield* a!.tell("hold")
  yield* until("A", "holds")
  yield* b!.tell("hold")
  yield* show("B", "waits", "waits")
  yield* Effect.sleep("700 millis")
  yield* a!.signal("SIGKILL")
  yield* show("A", "gone", "is killed")
  yield* until("B", "holds")
  yield* Effect.sleep("700 millis")
}).pipe(Effect.scoped)

/** A writer is paused past its lease: what it writes then is refused, since a newer one has written. */
export const paused = Effect.gen(function*() {
  yield* Console.log("\nA writer is paused in the middle of its work (kill -STOP), for longer than its lease lasts.\n")
  const { processes: [a, b], show, until } = yield* begin(["A", "B"])
  let newest = 0n
  // What is written to: it remembers the newest fence that it has seen.
  const writes = Effect.fnUntraced(function*(who: string) {
    const fence = BigInt((yield* until(who, "writes")).line.split(" ")[1]!)
    const isStale = fence < newest
    if (!isStale) newest = fence
    yield* show(who, "holds", isStale ? `writes under fence ${fence}, and is REFUSED` : `writes under fence ${fence}`)
    return isStale
  })
  yield* a!.tell("write")
  yield* until("A", "holds")
  yield* Effect.gen(function*() {
    yield* a!.signal("SIGSTOP")
    yield* show("A", "paused", "is paused")
    yield* b!.tell("write")
    if (yield* writes("B")) return yield* new Broken({ promise: "the newest writer is let in" })
    yield* Effect.sleep("300 millis")
  }).pipe(Effect.ensuring(a!.signal("SIGCONT")))
  if (!(yield* writes("A"))) return yield* new Broken({ promise: "an older writer is refused" })
  yield* Effect.sleep("500 millis")
}).pipe(Effect.scoped)

const wanting = ["A", "B", "C", "D", "E", "F"]

/** How many held a permit at a time, at the most. */
const sharing = Effect.gen(function*() {
  yield* Console.log("\nSix processes share three permits, and each wants one twice.\n")
  const { processes, show, told } = yield* begin(wanting)
  const seen = shownBy(show)
  yield* Effect.forEach(processes, ({ tell }) => tell("permits"), { discard: true })
  const lines: Array<readonly [what: string, at: bigint]> = []
  for (let done = 0; done < wanting.length;) {
    const one = yield* Queue.take(told)
    yield* seen(one)
    const [what = "", at] = one.line.split(" ")
    if (at !== undefined) lines.push([what, BigInt(at)])
    if (what === "done") done++
  }
  let [inside, most] = [0, 0]
  for (const [what] of lines.toSorted(([, a], [, b]) => a < b ? -1 : 1)) {
    inside += what === "permit" ? 1 : -1
    most = Math.max(most, inside)
  }
  return most
}).pipe(Effect.scoped)

/** Six processes share three permits. */
export const permits = Effect.gen(function*() {
  const most = yield* sharing
  yield* Console.log(`\n  At the most ${most} held a permit at a time.`)
  if (most > 3) return yield* new Broken({ promise: "no more than three hold a permit" })
})
