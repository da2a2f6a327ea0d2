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
import { type DlmError, Lease, Locker, ReadWriteLock, Talker } from "../../../src/index.ts"
import { NodeTalker } from "../../../src/node/index.ts"
import type { Protocol } from "../../../src/protocol/index.ts"
import { monotonic as now } from "../../support/history/History.ts"
import type { Ending, Line } from "../../support/history/lines.ts"
import { isAnothers } from "../../support/history/tenures.ts"
import { type Asker, claimOf, program as permits } from "../../support/permits.ts"
import { Seeded } from "../../support/random.ts"
import { limited, shelves } from "./limited.ts"
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
  /** Whether a server that is killed forgets who held what. */
  readonly forgets: boolean
}

const between = (from: number, to: number): number => from + Math.random() * (to - from)
const chance = (likelihood: number): boolean => Math.random() < likelihood
const pick = <A>(all: ReadonlyArray<A>): A => all[Math.floor(Math.random() * all.length)]!

/** A longer gap between two looks at the clock than this is a pause, in milliseconds. */
const pause = 60

/** The history that is written down, before anything else happens, so that a kill leaves no line untold. */
class Diary {
  private readonly file: number
  private looked = now()
  private asked = 0
  /** How many requests were answered, or timed out. */
  operations = 0
  private bodies = 0

  constructor(file: string) {
    this.file = fs.openSync(file, "a")
  }

  tell(line: Line): void {
    fs.writeSync(this.file, JSON.stringify(line) + "\n")
  }

  /** Looks at the clock, and tells of a pause since it did so last. */
  look(): void {
    const at = now()
    if (at - this.looked > pause) this.tell({ type: "paused", from: this.looked, to: at })
    this.looked = at
  }

  /** Something to put that was not put before. */
  datum(): string {
    return `${process.pid} ${this.asked}`
  }

  /** The Talker, each of whose requests is told. */
  telling(talk: Talker.Talker["Service"]["talk"]): Talker.Talker["Service"] {
    return Talker.Talker.of({
      talk: (request) =>
        Effect.suspend(() => {
          const op = this.asked++
          const { Action: action, DataStore: data, Fence: meant, FileName: name, ID: id, Wait: wait = 0 } = request
          const { Heir: heir, Limit: limit, Weight: weight } = request
          const asked = { action, name, id, ttl: request.Expire * 1000, wait, data, meant, heir, limit, weight }
          this.tell({ type: "asked", op, at: now(), ...asked })
          return Effect.onExit(talk(request), (exit) =>
            Effect.sync(() => {
              const ending = endingOf(exit)
              if (ending === "answered" || ending === "timedOut") this.operations++
              const response = Exit.isSuccess(exit) ? exit.value : undefined
              this.tell({ type: "ended", op, at: now(), ending, response })
            }))
        })
    })
  }

  /** Runs a body under a lease, and tells when it did. */
  during<A, E, R>(lease: Lease.Lease, ttl: number, work: Effect.Effect<A, E, R>): Effect.Effect<A, E, R> {
    return Effect.suspend(() => {
      const body = this.bodies++
      const fence = String(Option.getOrThrow(lease.fence))
      // A lease gives itself up when a tenth of its time is left.
      this.tell({ type: "entered", body, at: now(), name: lease.name, id: lease.id, fence, lasts: ttl * 0.9 })
      return Effect.onExit(work, () =>
        Effect.sync(() => {
          this.look()
          this.tell({ type: "left", body, at: now() })
        }))
    })
  }
}

type Taken = Extract<Answer, { readonly n: number }>

/** The counters that the locks protect, in another process. */
class Counters {
  isOver = false
  private readonly diary: Diary
  private readonly socket: net.Socket
  private readonly waiting = new Map<number, (answer: Taken) => void>()
  private questions = 0

  constructor(port: number, diary: Diary) {
    this.diary = diary
    this.socket = net.connect({ port, host: "127.0.0.1", noDelay: true })
    createInterface(this.socket).on("line", (line) => {
      const answer = JSON.parse(line) as Answer
      if ("over" in answer) this.isOver = true
      else {
        this.waiting.get(answer.n)?.(answer)
        this.waiting.delete(answer.n)
      }
    })
  }

  /** Reads or writes one. The answer is always awaited: a client that lives knows what became of its writes. */
  touch(name: string, fence: bigint, value?: number, stop = false): Effect.Effect<Taken> {
    return Effect.uninterruptible(Effect.callback<Taken>((resume) => {
      const { diary } = this
      const n = this.questions++
      // The worst moment: it has looked, and believes that it holds the lock.
      const looked = now()
      if (stop) process.kill(process.pid, "SIGSTOP")
      const from = now()
      this.waiting.set(n, (answer) => {
        const taken = answer.value !== undefined
        const what = value === undefined ? "read" : "write"
        diary.tell({ type: "touched", what, name, fence: String(fence), from, to: now(), taken })
        resume(Effect.succeed(answer))
      })
      const question: Question = {
        n,
        process: process.pid,
        operations: diary.operations,
        name,
        fence: String(fence),
        value,
        stoppedFor: stop ? from - looked : 0
      }
      this.socket.write(JSON.stringify(question) + "\n")
    }))
  }

  /** Reads one together with others. */
  look(name: string, fence: bigint): Effect.Effect<number | undefined> {
    return Effect.uninterruptible(Effect.callback<number | undefined>((resume) => {
      const n = this.questions++
      this.waiting.set(n, ({ value }) => resume(Effect.succeed(value)))
      const { operations } = this.diary
      const about = { n, process: process.pid, operations, name, fence: String(fence), stoppedFor: 0 }
      const question: Question = { ...about, isShared: true }
      this.socket.write(JSON.stringify(question) + "\n")
    }))
  }

  close(): void {
    this.socket.destroy()
  }
}

const Counter = Lease.tag("counter")

/** Adds one to a counter, under its lock. */
const add = (locker: Locker.Locker, { maxWait, ttl }: Options, diary: Diary, counters: Counters) =>
  Effect.flatMap(Counter, (lease) => {
    const fence = Option.getOrThrow(lease.fence)
    const work = Effect.gen(function*() {
      const { stop, value } = yield* counters.touch(locker.name, fence)
      if (value === undefined) return
      if (stop) return yield* counters.touch(locker.name, fence, value + 1, true)
      if (chance(0.5)) {
        yield* locker.put(diary.datum())
        yield* locker.get
      }
      if (chance(0.2)) yield* locker.lock
      // Now and then long enough to be renewed in the background.
      yield* Effect.sleep(chance(0.01) ? ttl * 0.7 : chance(0.3) ? 1 : 0)
      yield* counters.touch(locker.name, fence, value + 1)
    })
    return diary.during(lease, ttl, work)
  }).pipe(
    Lease.withLockProvided(Counter, locker, { wait: Duration.millis(between(0, maxWait)) }),
    Effect.result
  )

/** What was refused while the lease goes on was so for another that had the lock as well. */
const alone = ({ forgets }: Options, { name, remaining }: Lease.Lease, was: number | undefined) =>
  Effect.flatMap(remaining, (left) =>
    was === undefined && !forgets && Duration.toMillis(left) > 0
      ? Effect.die(new Error(`another touched ${name} under a lock that went on`))
      : Effect.void)

/** Reads twice what others may read, and nobody may write meanwhile; or adds one to it. */
const useShelf = (
  { name, read, write }: ReadWriteLock.ReadWriteLock,
  own: Options,
  counters: Counters
) => {
  const { maxWait, ttl } = own
  const options = { ttl: Duration.millis(ttl), wait: Duration.millis(between(0, maxWait)) }
  const pause = Effect.suspend(() => Effect.sleep(chance(0.01) ? ttl * 0.7 : chance(0.5) ? 2 : 0))
  const reading = Lease.use(read, options, (lease) =>
    Effect.gen(function*() {
      const fence = Option.getOrThrow(lease.fence)
      const first = yield* counters.look(name, fence)
      yield* alone(own, lease, first)
      yield* pause
      const second = yield* counters.look(name, fence)
      yield* alone(own, lease, second)
      if (first !== undefined && second !== undefined && first !== second) {
        return yield* Effect.die(new Error(`${name} was written beside a reader: ${first}, ${second}`))
      }
    }))
  const writing = Lease.use(write, options, (lease) =>
    Effect.gen(function*() {
      const fence = Option.getOrThrow(lease.fence)
      const { stop, value } = yield* counters.touch(name, fence)
      yield* alone(own, lease, value)
      if (value === undefined) return
      if (!stop) yield* pause
      const { value: written } = yield* counters.touch(name, fence, value + 1, stop)
      yield* alone(own, lease, written)
    }))
  return Effect.result(chance(0.8) ? reading : writing)
}

/** Asks for much at once about data, as a busy program does. */
const keepData = (makeLocker: Effect.Effect<Locker.Locker, unknown, Talker.Talker>, diary: Diary) =>
  Effect.gen(function*() {
    // A new owner each time: what of an erase that failed comes late must not touch the next data.
    const locker = yield* makeLocker
    const put = Effect.suspend(() => locker.put(diary.datum()))
    yield* put
    yield* Effect.all([locker.get, locker.holder, put, locker.get, locker.version, locker.lock, locker.get], {
      concurrency: "unbounded"
    })
    if (chance(0.8)) yield* locker.erase
  }).pipe(Effect.result)

/** How a worker asks for some of a name by plain requests. */
const askerOf = ({ maxWait }: Options, talk: Talker.Talker["Service"]["talk"]): Asker => ({
  random,
  ask: (request) =>
    talk(request).pipe(
      Effect.option,
      Effect.map(Option.filter((response) => !isAnothers(response, { id: request.ID, heir: request.Heir })))
    ),
  freshId: () => `${process.pid}-${owners++}`,
  began: () => {},
  wait: () => random.pick([0, maxWait / 50, maxWait / 10]),
  pause: ({ ttl }) => random.chance(0.01) ? random.between(0, ttl / 2) : random.between(0, 2),
  leaves: () => random.chance(0.03)
})

const random = new Seeded(process.pid * 2 ** 20 + Date.now() % 2 ** 20)
let owners = 0

/** Takes some of a name. */
const takeSome = (options: Options) =>
  Effect.flatMap(Talker.Talker, ({ talk }) => {
    const asker = askerOf(options, talk)
    return permits(asker, claimOf(random, random.pick(limited), asker.freshId(), options.ttl), false)
  })

/** The read-write locks, by what a server knows beyond the reference. */
const locksOf = (talker: Talker.Talker["Service"], diary: Diary) =>
  Effect.forEach(shelves, ({ name }) => ReadWriteLock.make(name)).pipe(
    Effect.provideService(Talker.Talker, {
      ...diary.telling(talker.talk),
      ...(talker.features === undefined ? {} : { features: talker.features })
    })
  )

/** Goes on until the work is over. */
const worker = (
  options: Options,
  diary: Diary,
  counters: Counters,
  locks: ReadonlyArray<ReadWriteLock.ReadWriteLock>
) =>
  Effect.gen(function*() {
    const make = (name: string) =>
      Locker.make(name, {
        ttl: Duration.millis(options.ttl),
        retry: Schedule.upTo(Schedule.spaced("100 millis"), { times: 3 })
      })
    const lockers = yield* Effect.forEach(Array.from({ length: options.names }, (_, i) => `counter/${i}`), make)
    const data = Array.from({ length: options.names * 4 }, (_, i) => `data/${i}`)
    while (!counters.isOver) {
      yield* chance(0.2)
        ? takeSome(options)
        : chance(0.1)
        ? useShelf(pick(locks), options, counters)
        : chance(0.75)
        ? add(pick(lockers), options, diary, counters)
        : keepData(make(pick(data)), diary)
    }
  })

const program = Effect.fnUntraced(function*(options: Options) {
  const diary = new Diary(options.history)
  const watch = setInterval(() => diary.look(), 20)
  const counters = new Counters(options.resource, diary)
  yield* Effect.forEach(options.ports, (port, i) =>
    Effect.gen(function*() {
      const { answerTimeout } = options
      // By turns, so that each fault of the network meets both.
      const wire = i % 2 === 0 ? "frames" : "lines"
      const talker = yield* Layer.build(
        Layer.fresh(NodeTalker.layer({ port, openTimeout: "1 second", answerTimeout, wire }))
      )
      const own = Context.get(talker, Talker.Talker)
      const locks = yield* locksOf(own, diary)
      const workers = Array.from({ length: options.workers }, () => worker(options, diary, counters, locks))
      yield* Effect.all(workers, { concurrency: "unbounded" }).pipe(
        Effect.provideService(Talker.Talker, diary.telling(own.talk))
      )
    }), { concurrency: "unbounded" })
  clearInterval(watch)
  counters.close()
}, Effect.scoped)

const endingOf = (exit: Exit.Exit<Protocol.Response, DlmError.TalkError>): Ending => {
  if (Exit.isSuccess(exit)) return "answered"
  const error = Option.getOrUndefined(Exit.findErrorOption(exit))
  // Its asker was interrupted.
  if (error === undefined) return "givenUp"
  if (error._tag !== "TransportError") return "cutOff"
  if (error.phase === "AnswerTimeout" || error.phase === "OpenTimeout") return "timedOut"
  return (error.cause as NodeJS.ErrnoException | undefined)?.code === "ECONNREFUSED" ? "refused" : "cutOff"
}

await Effect.runPromise(program(JSON.parse(process.argv[2]!) as Options))
