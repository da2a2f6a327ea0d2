/**
 * A client in a process of its own, as it would be in production: leases over TCP, around work on what lies outside.
 * It writes down all that it asks and is answered, and what it does while it holds.
 *
 *     node client.ts '{"ports":[37373],"resource":40000,"history":"/tmp/one.jsonl", …}'
 */
import { Context, Duration, Effect, Exit, Layer, Option, Schedule } from "effect"
import * as fs from "node:fs"
import * as net from "node:net"
import { createInterface } from "node:readline"
import { type DlmError, Lease, Locker, Talker } from "../../../src/index.ts"
import { NodeTalker } from "../../../src/node/index.ts"
import type { Protocol } from "../../../src/protocol/index.ts"
import { monotonic as now } from "../../support/history/History.ts"
import type { Ending, Line } from "../../support/history/lines.ts"
import type { Answer, Question } from "./resource.ts"

export interface Options {
  /** Of the lock servers: a connection to each. */
  readonly ports: ReadonlyArray<number>
  readonly resource: number
  /** The file to write the history to. */
  readonly history: string
  /** How many locks there are, which all clients want. */
  readonly names: number
  /** How many of us work at once over each connection. */
  readonly workers: number
  /** Of the locks, in milliseconds. */
  readonly ttl: number
  /** How long an answer, and how long at the most a lock is waited for, in milliseconds. */
  readonly answerTimeout: number
  readonly maxWait: number
}

const between = (from: number, to: number): number => from + Math.random() * (to - from)
const chance = (likelihood: number): boolean => Math.random() < likelihood

/** A longer gap between two looks at the clock than this is a pause, in milliseconds. */
const pause = 60

const program = Effect.fnUntraced(function*(options: Options) {
  const file = fs.openSync(options.history, "a")
  // Written before anything else happens, so that a kill leaves no line untold.
  const tell = (line: Line) => void fs.writeSync(file, JSON.stringify(line) + "\n")

  let looked = now()
  const look = () => {
    const at = now()
    if (at - looked > pause) tell({ type: "paused", from: looked, to: at })
    looked = at
  }
  const watch = setInterval(look, 20)

  let over = false
  const isOver = () => over
  let asked = 0
  let operations = 0
  const telling = (talk: Talker.Talker["Service"]["talk"]) =>
    Talker.Talker.of({
      talk: (request) =>
        Effect.suspend(() => {
          const op = asked++
          const { Action: action, DataStore: data, FileName: name, ID: id, Wait: wait = 0 } = request
          tell({ type: "asked", op, at: now(), action, name, id, ttl: request.Expire * 1000, wait, data })
          return Effect.onExit(talk(request), (exit) =>
            Effect.sync(() => {
              const ending = endingOf(exit)
              if (ending === "answered" || ending === "timedOut") operations++
              const response = Exit.isSuccess(exit) ? exit.value : undefined
              tell({ type: "ended", op, at: now(), ending, response })
            }))
        })
    })

  const waiting = new Map<number, (answer: Extract<Answer, { readonly n: number }>) => void>()
  const socket = net.connect({ port: options.resource, host: "127.0.0.1", noDelay: true })
  createInterface(socket).on("line", (line) => {
    const answer = JSON.parse(line) as Answer
    if ("over" in answer) over = true
    else {
      waiting.get(answer.n)?.(answer)
      waiting.delete(answer.n)
    }
  })
  let questions = 0
  /** Asks the resource, whose answer is always awaited: a client that lives knows what became of its writes. */
  const touch = (name: string, fence: bigint, value?: number, stop = false) =>
    Effect.uninterruptible(Effect.callback<Extract<Answer, { readonly n: number }>>((resume) => {
      const n = questions++
      // The worst moment: it has looked, and believes that it holds the lock.
      const looked = now()
      if (stop) process.kill(process.pid, "SIGSTOP")
      const from = now()
      waiting.set(n, (answer) => {
        const taken = answer.value !== undefined
        const what = value === undefined ? "read" : "write"
        tell({ type: "touched", what, name, fence: String(fence), from, to: now(), taken })
        resume(Effect.succeed(answer))
      })
      const question: Question = {
        n,
        process: process.pid,
        operations,
        name,
        fence: String(fence),
        value,
        stoppedFor: stop ? from - looked : 0
      }
      socket.write(JSON.stringify(question) + "\n")
    }))

  let bodies = 0
  const Counter = Lease.tag("counter")
  const work = (locker: Locker.Locker) =>
    Effect.gen(function*() {
      const lease = yield* Counter
      const fence = Option.getOrThrow(lease.fence)
      const { stop, value } = yield* touch(locker.name, fence)
      if (value === undefined) return
      if (stop) return yield* touch(locker.name, fence, value + 1, true)
      if (chance(0.5)) {
        yield* locker.put(`${process.pid} ${asked}`)
        yield* locker.get
      }
      if (chance(0.2)) yield* locker.lock
      // Now and then long enough to be renewed in the background.
      yield* Effect.sleep(chance(0.01) ? options.ttl * 0.7 : chance(0.3) ? 1 : 0)
      yield* touch(locker.name, fence, value + 1)
    })
  const add = (locker: Locker.Locker) =>
    Effect.gen(function*() {
      const lease = yield* Counter
      const body = bodies++
      const fence = String(Option.getOrThrow(lease.fence))
      const lasts = options.ttl * 0.9
      tell({ type: "entered", body, at: now(), name: locker.name, id: lease.id, fence, lasts })
      yield* Effect.onExit(work(locker), () =>
        Effect.sync(() => {
          look()
          tell({ type: "left", body, at: now() })
        }))
    }).pipe(
      Lease.withLockProvided(Counter, locker, { wait: Duration.millis(between(0, options.maxWait)) }),
      Effect.result
    )
  // Much at once, as it comes from a busy program.
  const keepData = (name: string) =>
    Effect.gen(function*() {
      // A new owner each time: what of an erase that failed comes late must not touch the next data.
      const locker = yield* make(name)
      const put = Effect.suspend(() => locker.put(`${process.pid} ${asked}`))
      yield* put
      yield* Effect.all([locker.get, locker.holder, put, locker.get, locker.version, locker.lock, locker.get], {
        concurrency: "unbounded"
      })
      if (chance(0.8)) yield* locker.erase
    }).pipe(Effect.result)

  const make = (name: string) =>
    Locker.make(name, {
      ttl: Duration.millis(options.ttl),
      retry: Schedule.upTo(Schedule.spaced("100 millis"), { times: 3 })
    })
  const worker = Effect.gen(function*() {
    const counters = yield* Effect.forEach(Array.from({ length: options.names }, (_, i) => `counter/${i}`), make)
    const data = Array.from({ length: options.names * 4 }, (_, i) => `data/${i}`)
    const pick = <A>(all: ReadonlyArray<A>): A => all[Math.floor(Math.random() * all.length)]!
    while (!isOver()) yield* chance(0.75) ? add(pick(counters)) : keepData(pick(data))
  })
  yield* Effect.forEach(options.ports, (port) =>
    Effect.gen(function*() {
      const talker = yield* Layer.build(
        Layer.fresh(NodeTalker.layer({ port, openTimeout: "1 second", answerTimeout: options.answerTimeout }))
      )
      yield* Effect.all(Array.from({ length: options.workers }, () => worker), { concurrency: "unbounded" }).pipe(
        Effect.provideService(Talker.Talker, telling(Context.get(talker, Talker.Talker).talk))
      )
    }), { concurrency: "unbounded" })
  clearInterval(watch)
  socket.destroy()
}, Effect.scoped)

const endingOf = (exit: Exit.Exit<Protocol.Response, DlmError.TalkError>): Ending => {
  if (Exit.isSuccess(exit)) return "answered"
  const error = Option.getOrUndefined(Exit.findErrorOption(exit))
  // Its asker was interrupted.
  if (error === undefined) return "givenUp"
  if (error._tag === "ProtocolError") return "cutOff"
  if (error.reason === "AnswerTimeout" || error.reason === "OpenTimeout") return "timedOut"
  return (error.cause as NodeJS.ErrnoException | undefined)?.code === "ECONNREFUSED" ? "refused" : "cutOff"
}

await Effect.runPromise(program(JSON.parse(process.argv[2]!) as Options))
