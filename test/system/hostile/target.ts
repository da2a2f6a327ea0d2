/**
 * The server without a network, over a store that is watched, and with a clock that stands still until it is moved: the
 * whole of it, or only what each message goes through, which is far faster.
 */
import { Clock, Context, Deferred, Duration, Effect, Exit, Fiber, Layer, Logger, Redacted, Result, Scope } from "effect"
import { NetAddress } from "effect/net"
import { Socket, SocketServer } from "effect/socket"
import { Bytes } from "../../../src/protocol/Bytes.ts"
import { beginFrames, frames, lines } from "../../../src/protocol/codecs.ts"
import type * as Protocol from "../../../src/protocol/Protocol.ts"
import * as Identities from "../../../src/server/Identities.ts"
import * as Limits from "../../../src/server/Limits.ts"
import * as LockServer from "../../../src/server/LockServer.ts"
import * as SocketLockServer from "../../../src/server/SocketLockServer.ts"
import * as Store from "../../../src/store/Store.ts"
import * as codec from "./codec.ts"
import { identities } from "./corpus.ts"
import type { Input } from "./inputs.ts"

/** What came of a connection. */
export interface Outcome {
  /** All that the server has sent, where frames are spoken from the first of them on. */
  readonly sent: Buffer
  /** Whose entries it has left in the store, under which names. */
  readonly held: ReadonlyArray<{ readonly name: string; readonly owner: string }>
  /** What the server died of, if it did. */
  readonly died: unknown
  readonly millis: number
}

export interface Target {
  /** A connection to the whole server. */
  readonly connection: (input: Input) => Promise<Outcome>
  /** Cutter, decoder and handler alone. */
  readonly messages: (input: Input) => Promise<Outcome>
  readonly advance: (millis: number) => void
  readonly close: () => Promise<void>
}

/** Time as it is told, so that each run goes as the one before. */
class ManualClock implements Clock.Clock {
  private nanos = 0n
  private readonly sleepers = new Map<() => void, bigint>()
  readonly currentTimeMillisUnsafe = () => Number(this.nanos / 1_000_000n)
  readonly currentTimeNanosUnsafe = () => this.nanos
  readonly monotonicTimeNanosUnsafe = () => this.nanos
  readonly currentTimeMillis = Effect.sync(this.currentTimeMillisUnsafe)
  readonly currentTimeNanos = Effect.sync(this.currentTimeNanosUnsafe)
  readonly monotonicTimeNanos = Effect.sync(this.monotonicTimeNanosUnsafe)

  sleep(duration: Duration.Duration): Effect.Effect<void> {
    return Effect.callback((resume) => {
      const millis = Duration.toMillis(duration)
      if (millis <= 0) return resume(Effect.void)
      const wake = () => resume(Effect.void)
      if (Number.isFinite(millis)) this.sleepers.set(wake, this.nanos + BigInt(Math.ceil(millis)) * 1_000_000n)
      return Effect.sync(() => void this.sleepers.delete(wake))
    })
  }

  advance(millis: number): void {
    this.nanos += BigInt(millis) * 1_000_000n
    for (const [wake, due] of this.sleepers) {
      if (due > this.nanos) continue
      this.sleepers.delete(wake)
      wake()
    }
  }
}

/** The store in memory, that notes which entries are there since `held` was emptied. */
export const watched = (held: Map<string, string>) =>
  Layer.effect(
    Store.Store,
    Effect.map(Store.Store, ({ modify }) =>
      Store.Store.of({
        modify: (name, decide, asker) =>
          modify(name, (entry, revision) => {
            const decision = decide(entry, revision)
            if (decision.change._tag === "Write") held.set(name, decision.change.entry.owner)
            else if (decision.change._tag === "Remove") held.delete(name)
            return decision
          }, asker)
      }))
  ).pipe(Layer.provide(Store.layerMemory))

const closed = (code: number) => Effect.fail(new Socket.SocketError({ reason: new Socket.SocketCloseError({ code }) }))
// Made once, since an error takes longer to make than all that is done with it.
const ends = { Closed: closed(1000), Reset: closed(1006) }

const socketOf = ({ chunks, end }: Input, sent: Array<Uint8Array>): Socket.Socket => {
  let next = 0
  const pull = Effect.suspend(() => next < chunks.length ? Effect.succeed([chunks[next++]!] as const) : ends[end])
  const write = (chunk: Uint8Array | string | Socket.CloseEvent) =>
    Effect.sync(() => {
      if (chunk instanceof Uint8Array) sent.push(chunk)
    })
  return Socket.make({
    reader: Effect.succeed({ pull, upgrade: Socket.SocketUpgradeError.unsupported }),
    writer: Effect.succeed({ write, writeAll: (chunks) => Effect.forEach(chunks, write, { discard: true }) })
  })
}

/** How long the handler of a connection that has ended may go on, while time stands still: only a bug takes so long. */
const patience = 30_000

/** The whole server, on a clock of its own, and how a connection is given to it. */
const startServer = async (clock: ManualClock, held: Map<string, string>, scope: Scope.Scope) => {
  const accepting = Deferred.makeUnsafe<(socket: Socket.Socket) => Effect.Effect<unknown, unknown>>()
  const server = Layer.succeed(
    SocketServer.SocketServer,
    SocketServer.SocketServer.of({
      address: NetAddress.unixPathAddress("none"),
      run: (handler) =>
        Effect.contextWith((context) =>
          Effect.andThen(
            Deferred.succeed(accepting, (socket) => Effect.provideContext(handler(socket), context)),
            Effect.never
          )
        )
    })
  )
  const program = SocketLockServer.layer.pipe(
    Layer.provide(server),
    Layer.provideMerge(LockServer.layer),
    Layer.provide([
      watched(held),
      Identities.layer(
        identities.map(({ Identity, ...fields }) => Object.assign(fields, { Identity: Redacted.make(Identity) }))
      )
    ]),
    Layer.provide(Logger.layer([]))
  )
  const built = await Effect.runPromise(
    Layer.buildWithScope(program, scope).pipe(Effect.provideService(Clock.Clock, clock))
  )
  const { handle } = Context.get(built, LockServer.LockServer)
  return { handle, accept: await Effect.runPromise(Deferred.await(accepting)) }
}

/** The messages of chunks, each as soon as it has come. */
function* messagesOf({ chunks, wire }: Input): Generator<Uint8Array, void> {
  const cutter = (wire === undefined ? lines : frames).cutter(Limits.defaults.maxLineBytes)
  for (const chunk of chunks) yield* cutter.push(chunk)
}

/** What a client sends that speaks frames, before the first of them. */
const offer = codec.line({ Seq: "1", ID: "", FileName: "", Action: "Version", Expire: "0" })

/** The same with what comes before the chunks. */
const withBeginning = (input: Input): Input => {
  if (input.wire === undefined) return input
  const [first = Buffer.alloc(0), ...rest] = input.chunks
  return { ...input, chunks: [offer, Buffer.concat([Buffer.of(beginFrames), first]), ...rest] }
}

/** What each message goes through, without a connection: sends the answers, and gives what it died of, if it did. */
const handleMessages = async (
  input: Input,
  sent: Array<Uint8Array>,
  fork: (request: Protocol.Request) => Fiber.Fiber<Protocol.Response>
): Promise<unknown> => {
  const running: Array<readonly [Fiber.Fiber<Protocol.Response>, string | undefined]> = []
  const { readRequest, writeResponse } = input.wire === undefined ? lines : frames
  const send = (response: Protocol.Response, Seq: string | undefined) => {
    const bytes = new Bytes()
    writeResponse(response, Seq, bytes)
    sent.push(...bytes.take())
  }
  const answer = (exit: Exit.Exit<Protocol.Response>, Seq: string | undefined) => {
    if (Exit.isFailure(exit)) return exit.cause
    send(exit.value, Seq)
    return undefined
  }
  for (const message of messagesOf(input)) {
    const request = readRequest(message, Limits.defaults.maxJsonDepth)
    if (Result.isFailure(request)) {
      send({ Status: request.failure.Status }, request.failure.Seq)
      continue
    }
    const { Action, Seq, Wait } = request.success
    if (Action === undefined) {
      send({ Status: "BadAction" }, Seq)
      continue
    }
    const fiber = fork({ ...request.success, Action })
    // A request that waits is answered later, or is gone by then; all others while it runs, but for a proof.
    const exit = fiber.pollUnsafe() ?? (Wait === undefined ? await Effect.runPromise(Fiber.await(fiber)) : undefined)
    if (exit === undefined) running.push([fiber, Seq])
    else {
      const died = answer(exit, Seq)
      if (died !== undefined) return died
    }
  }
  for (const [fiber, Seq] of running) {
    await Effect.runPromise(Fiber.interrupt(fiber))
    const exit = fiber.pollUnsafe()!
    const died = Exit.hasInterrupts(exit) ? undefined : answer(exit, Seq)
    if (died !== undefined) return died
  }
  return undefined
}

export const makeTarget = async (): Promise<Target> => {
  const clock = new ManualClock()
  const held = new Map<string, string>()
  const scope = Scope.makeUnsafe()
  const { accept, handle } = await startServer(clock, held, scope)
  const fork = Effect.runForkWith(Context.make(Clock.Clock, clock))

  /** Runs it, and says what came of it. `run` sends, and gives what it died of. */
  const outcomeOf = async (run: (sent: Array<Uint8Array>) => Promise<unknown>): Promise<Outcome> => {
    held.clear()
    const sent: Array<Uint8Array> = []
    const began = process.hrtime.bigint()
    const died = await run(sent).catch((thrown: unknown) => thrown ?? "nothing was thrown")
    const millis = Number(process.hrtime.bigint() - began) / 1e6
    return {
      sent: sent.length === 1 ? Buffer.from(sent[0]!) : Buffer.concat(sent),
      held: held.size === 0 ? none : Array.from(held, ([name, owner]) => ({ name, owner })),
      died,
      millis
    }
  }

  return {
    connection: async (input) => {
      const outcome = await outcomeOf((sent) => ending(accept(socketOf(withBeginning(input), sent))))
      return input.wire === undefined
        ? outcome
        : { ...outcome, sent: outcome.sent.subarray(outcome.sent.indexOf(10) + 1) }
    },
    messages: (input) => outcomeOf((sent) => handleMessages(input, sent, (request) => fork(handle(request)))),
    advance: (millis) => clock.advance(millis),
    close: () => Effect.runPromise(Scope.close(scope, Exit.void))
  }
}

const none: Outcome["held"] = []

const ending = (connection: Effect.Effect<unknown, unknown>): Promise<unknown> =>
  new Promise((resolve) => {
    const late = setTimeout(() => resolve(new Error(`the connection is not over after ${patience} ms`)), patience)
    Effect.runFork(connection).addObserver((exit) => {
      clearTimeout(late)
      resolve(exit._tag === "Failure" ? exit.cause : undefined)
    })
  })
