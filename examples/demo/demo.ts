/**
 * A demonstration: processes that count in one file, with the lock and
 * without it.
 *
 *     npm run demo
 *
 * The server is embedded here, and the workers are real processes that reach
 * it over TCP. `DEMO_WORKERS` and `DEMO_INCREMENTS` change how many there are.
 */
import * as NodeRuntime from "@effect/platform-node/NodeRuntime"
import * as NodeServices from "@effect/platform-node/NodeServices"
import { Array, Config, Console, Effect, FileSystem, Layer, Path, Queue, Schema, Stdio, Stream, Terminal } from "effect"
import { NetAddress } from "effect/net"
import { ChildProcess } from "effect/process"
import { SocketServer } from "effect/socket"
// Not "effect-dlm": within the repository that would need a build first.
import { NodeLockServer } from "../../src/node/index.ts"
import { Identities, LockServer, Store } from "../../src/server/index.ts"

type Round = "locked" | "unlocked"

class WorkerEnded extends Schema.TaggedError<WorkerEnded>()("WorkerEnded", {}) {
  override readonly message = "a worker ended before its work was done"
}

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

// Starts a worker. What it prints goes to `lines`; a round that is put into the Queue given back goes to the worker.
const startWorker = Effect.fnUntraced(function*(
  env: Record<string, string>,
  lines: Queue.Queue<string, WorkerEnded>
) {
  const path = yield* Path.Path
  const rounds = yield* Queue.unbounded<Round>()
  const { stdout } = yield* ChildProcess.make(
    process.execPath,
    [path.join(import.meta.dirname, "worker.ts")],
    {
      env,
      extendEnv: true,
      stdin: Stream.fromQueue(rounds).pipe(Stream.map((round) => `${round}\n`), Stream.encodeText),
      stderr: "inherit"
    }
  )
  yield* stdout.pipe(
    Stream.decodeText,
    Stream.splitLines,
    Stream.runForEach((line) => Queue.offer(lines, line)),
    Effect.andThen(Queue.fail(lines, new WorkerEnded())),
    Effect.forkScoped
  )
  return rounds
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

const demo = Effect.gen(function*() {
  const fs = yield* FileSystem.FileSystem
  const { increments, workers } = yield* settings
  const { address } = yield* SocketServer.SocketServer
  const folder = yield* fs.makeTempDirectoryScoped({ prefix: "effect-dlm-demo-" })
  const asked = workers * increments

  yield* Console.log(
    `${workers} processes add one to the number in a file, ${increments} times each: they read it, add one, and\n` +
      "write it back. Then they append the number that they wrote to a log.\n"
  )

  const lines = yield* Queue.unbounded<string, WorkerEnded>()
  const rounds = yield* Effect.replicateEffect(
    startWorker({
      DLM_HOST: "127.0.0.1",
      DLM_PORT: String(NetAddress.isInetAddress(address) ? address.port : 0),
      DEMO_FOLDER: folder,
      DEMO_INCREMENTS: String(increments)
    }, lines),
    workers
  )
  // All begin together: each says once that it is ready.
  yield* Effect.replicateEffect(Queue.take(lines), workers, { discard: true })

  const play = Effect.fnUntraced(function*(round: Round) {
    const file = `${folder}/${round}`
    yield* fs.writeFileString(`${file}.number`, "0".padStart(9))
    yield* Effect.forEach(rounds, Queue.offer(round), { discard: true })
    yield* Effect.forEach(
      Array.range(1, asked),
      (done) => Effect.andThen(Queue.take(lines), showProgress(round, done, asked)),
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
})

const server = NodeLockServer.layer({ port: 0 }).pipe(
  Layer.provide(LockServer.layer),
  Layer.provide([Store.layerMemory, Identities.layerNone])
)

demo.pipe(
  Effect.scoped,
  Effect.provide(Layer.merge(server, NodeServices.layer)),
  NodeRuntime.runMain
)
