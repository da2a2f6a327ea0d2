/**
 * Processes that count in one file, with the lock and without it.
 */
import { Array, Config, Console, Effect, FileSystem, Queue, Schema, Stdio, Terminal } from "effect"
import * as Processes from "./Processes.ts"

type Round = "locked" | "unlocked"

class NotExclusive extends Schema.TaggedError<NotExclusive>()("NotExclusive", {
  asked: Schema.Int,
  found: Schema.Int
}) {
  override get message() {
    return `the lock does not hold: ${this.asked} increments were asked for, and ${this.found} were found`
  }
}

const settings = Config.all({
  workers: Config.schema(Schema.Int.check(Schema.isGreaterThan(0)), "DEMO_WORKERS").pipe(Config.withDefault(8)),
  increments: Config.schema(Schema.Int.check(Schema.isGreaterThan(0)), "DEMO_INCREMENTS").pipe(Config.withDefault(25))
})

const barWidth = 40

// A bar on a terminal; elsewhere a line at each quarter.
const showProgress = Effect.fnUntraced(function*(round: Round, done: number, asked: number) {
  const { stdoutIsTerminal } = yield* Stdio.Stdio
  const { display } = yield* Terminal.Terminal
  const title = round === "locked" ? "with the lock   " : "without the lock"
  if (yield* stdoutIsTerminal) {
    const bar = "█".repeat(Math.floor(barWidth * done / asked)).padEnd(barWidth, "░")
    return yield* display(`\r${title}  ${bar}  ${done}/${asked}${done === asked ? "\n" : ""}`)
  }
  const quarters = Math.floor(4 * done / asked)
  if (quarters > Math.floor(4 * (done - 1) / asked)) yield* Console.log(`${title}  ${25 * quarters} %`)
})

/** Shows it, and fails where the lock does not hold. */
export const counting = Effect.gen(function*() {
  const fs = yield* FileSystem.FileSystem
  const { increments, workers } = yield* settings
  const folder = yield* fs.makeTempDirectoryScoped({ prefix: "effect-dlm-demo-" })
  const asked = workers * increments

  yield* Console.log(
    `${workers} processes add one to the number in a file, ${increments} times each: they read it, add one, and\n` +
      "write it back. Then they append the number that they wrote to a log.\n"
  )

  const told = yield* Queue.unbounded<Processes.Told, Processes.Ended>()
  const processes = yield* Effect.forEach(
    Array.range(1, workers),
    (worker) =>
      Processes.start("worker.ts", String(worker), told, {
        DEMO_FOLDER: folder,
        DEMO_INCREMENTS: String(increments)
      })
  )
  // All begin together: each says once that it is ready.
  yield* Effect.replicateEffect(Queue.take(told), workers, { discard: true })

  const play = Effect.fnUntraced(function*(round: Round) {
    const file = `${folder}/${round}`
    yield* fs.writeFileString(`${file}.number`, "0".padStart(9))
    yield* Effect.forEach(processes, ({ tell }) => tell(round), { discard: true })
    yield* Effect.forEach(
      Array.range(1, asked),
      (done) => Effect.andThen(Queue.take(told), showProgress(round, done, asked)),
      { discard: true }
    )
    const logged = (yield* fs.readFileString(`${file}.log`)).trimEnd().split("\n")
    return {
      number: Number(yield* fs.readFileString(`${file}.number`)),
      lines: logged.length,
      distinct: new Set(logged).size
    }
  })

  const locked = yield* play("locked")
  const unlocked = yield* play("unlocked")

  const row = (title: string, ...cells: ReadonlyArray<string | number>) =>
    Console.log(title.padEnd(24) + cells.map((cell) => String(cell).padStart(18)).join(""))
  yield* Console.log("")
  yield* row("", "asked for", "with the lock", "without the lock")
  yield* row("the number in the file", asked, locked.number, unlocked.number)
  yield* row("lines in the log", asked, locked.lines, unlocked.lines)
  yield* row("different lines", asked, locked.distinct, unlocked.distinct)

  if (locked.number !== asked || locked.lines !== asked || locked.distinct !== asked) {
    return yield* new NotExclusive({ asked, found: locked.number })
  }
  yield* Console.log(
    "\nWith the lock each increment counts. Without it two processes read the same number at the same time,\n" +
      `and each writes that number plus one: ${asked - unlocked.number} increments are lost, and nobody noticed.`
  )
}).pipe(Effect.scoped)
