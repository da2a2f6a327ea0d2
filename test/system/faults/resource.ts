/**
 * What the locks protect: counters outside of the lock servers, guarded by fences, that clients read, add one to, and
 * write. Reading and writing are two steps, so nothing but the lock and the guard keeps an update from being lost.
 */
import { Effect, Option } from "effect"
import type { Lease } from "effect-dlm"
import { Fence } from "effect-dlm/fence"
import * as net from "node:net"
import { createInterface } from "node:readline"
import { sqlite } from "../../support/sqlite.ts"

export interface Question {
  readonly n: number
  readonly process: number
  /** How many of its requests to the lock servers have been answered, or timed out. */
  readonly operations: number
  readonly name: string
  readonly fence: string
  /** What is to be written; none to read. */
  readonly value?: number | undefined
  /** Whether it is read together with others. */
  readonly isShared?: boolean | undefined
  /** For how many milliseconds it was stopped before it sent this. */
  readonly stoppedFor: number
}

export type Answer =
  | {
    readonly n: number
    /** None where the fence is older than the newest that was seen. */
    readonly value: number | undefined
    /** It is to stop itself before it writes. */
    readonly stop: boolean
  }
  /** Said to all: the work is over. */
  | { readonly over: true }

/** The counters, and what was done to them. */
class Resource {
  /** How many requests to the lock servers each client has had an answer to, or a time-out. */
  readonly operations = new Map<number, number>()
  readonly written = new Map<string, number>()
  sharedReads = 0
  readonly stops: Array<{ readonly process: number; readonly millis: number; readonly refused: boolean }> = []
  toStop: ((process: number) => void) | undefined
  private readonly sql: Sql

  constructor(sql: Sql) {
    this.sql = sql
  }

  private ask({ fence, isShared, name, value }: Question): Effect.Effect<number | undefined> {
    const { sql } = this
    // All that the guard looks at.
    const mode = isShared === true ? "shared" : "exclusive"
    const lease = { mode, name, fence: Option.some(BigInt(fence)) } as Lease.Lease<"exclusive" | "shared">
    // A read is guarded too: an earlier holder must not write what the reader then does not know of.
    const work = value === undefined
      ? Effect.map(
        sql<{ readonly value: number }>`SELECT value FROM counters WHERE name = ${name}`,
        ([row]) => row?.value ?? 0
      )
      : Effect.as(
        sql`INSERT INTO counters (name, value) VALUES (${name}, ${value})
          ON CONFLICT (name) DO UPDATE SET value = excluded.value`,
        value
      )
    return work.pipe(
      Fence.sql(sql, lease),
      Effect.catchTag("StaleFence", () => Effect.undefined),
      Effect.orDie
    )
  }

  async handle(question: Question): Promise<Answer> {
    const { name, process } = question
    this.operations.set(process, question.operations)
    const value = await Effect.runPromise(this.ask(question))
    const isWrite = question.value !== undefined
    if (isWrite && value !== undefined) this.written.set(name, (this.written.get(name) ?? 0) + 1)
    if (question.isShared === true && value !== undefined) this.sharedReads++
    if (question.stoppedFor > 0) {
      this.stops.push({ process, millis: question.stoppedFor, refused: value === undefined })
    }
    const stop = !isWrite && question.isShared !== true && value !== undefined && this.toStop !== undefined
    if (stop) {
      this.toStop!(process)
      this.toStop = undefined
    }
    return { n: question.n, value, stop }
  }
}

type Sql = Effect.Success<typeof sqlite>

/** A server that answers a question on each line, and its connections. */
const listen = (handle: (question: Question) => Promise<Answer>) => {
  const sockets = new Set<net.Socket>()
  return Effect.acquireRelease(
    Effect.callback<{ readonly port: number; readonly sockets: Set<net.Socket>; readonly server: net.Server }>(
      (resume) => {
        const server = net.createServer((socket) => {
          sockets.add(socket)
          socket.setNoDelay(true)
          socket.on("error", () => {})
          socket.on("close", () => sockets.delete(socket))
          createInterface(socket).on("error", () => {}).on("line", async (line) => {
            const answer = await handle(JSON.parse(line))
            if (socket.writable) socket.write(JSON.stringify(answer) + "\n")
          })
        })
        server.listen(0, "127.0.0.1", () => {
          resume(Effect.succeed({ port: (server.address() as net.AddressInfo).port, sockets, server }))
        })
      }
    ),
    ({ server }) =>
      Effect.sync(() => {
        server.close()
        sockets.forEach((socket) => socket.destroy())
      })
  )
}

/** Serves the counters, as long as the scope lives. */
export const serve = Effect.gen(function*() {
  const sql = yield* sqlite
  yield* Fence.migrate(sql)
  yield* sql`CREATE TABLE counters (name TEXT PRIMARY KEY, value INTEGER NOT NULL)`
  const resource = new Resource(sql)
  const { port, sockets } = yield* listen((question) => resource.handle(question))
  return {
    port,
    /** How many requests to the lock servers all clients have had an answer to, or a time-out. */
    operations: () => Array.from(resource.operations.values()).reduce((sum, n) => sum + n, 0),
    /** How many reads of those who read together were accepted. */
    sharedReads: () => resource.sharedReads,
    /** How many writes were accepted, by the name of the counter. */
    written: resource.written as ReadonlyMap<string, number>,
    /** The writes of clients that had been stopped before them, for how long, and whether they were refused. */
    stops: resource.stops as ReadonlyArray<Resource["stops"][number]>,
    /** Lets the next client that reads stop itself before it writes; gives its process. */
    stopNext: Effect.callback<number>((resume) => {
      resource.toStop = (process) => resume(Effect.succeed(process))
      return Effect.sync(() => void (resource.toStop = undefined))
    }),
    /** Tells all clients that the work is over. */
    over: Effect.sync(() => sockets.forEach((socket) => socket.write("{\"over\":true}\n"))),
    /** What the counters say. */
    counters: Effect.map(
      Effect.orDie(sql<{ readonly name: string; readonly value: number }>`SELECT name, value FROM counters`),
      (rows) => new Map(rows.map(({ name, value }) => [name, value]))
    )
  }
})
