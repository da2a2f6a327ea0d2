/**
 * A network that a test plays, between real clients and the real server, in the test's own time: what a client sends may
 * be kept for a while and come late, on a connection that is over for the client, or once more on another connection.
 */
import { assert } from "@effect/vitest"
import { Cause, Effect, Layer, Queue, Result } from "effect"
import { Talker } from "effect-dlm"
import { Protocol } from "effect-dlm/protocol"
import { Identities, LockServer, SocketLockServer } from "effect-dlm/server"
import { Socket, SocketServer } from "effect/socket"
import { TestClock } from "effect/testing"
import { beginFrames, type Codec, frames, lines } from "../../src/protocol/codecs.ts"

const closed = new Socket.SocketError({ reason: new Socket.SocketCloseError({ code: 1006 }) })

/** What comes to one end of a connection. */
class Inlet {
  private readonly queue = Effect.runSync(Queue.unbounded<Uint8Array, Socket.SocketError>())
  isOpen = true

  receive(bytes: Uint8Array): void {
    if (this.isOpen) Queue.offerUnsafe(this.queue, bytes)
  }

  end(): void {
    if (!this.isOpen) return
    this.isOpen = false
    Queue.failCauseUnsafe(this.queue, Cause.fail(closed))
  }

  readonly pull = Effect.map(Queue.take(this.queue), (chunk) => [chunk] as const)
}

const socketOf = (inlet: Inlet, send: (bytes: Uint8Array) => void, end: () => void): Socket.Socket => {
  const write = (chunk: Uint8Array | string | Socket.CloseEvent) =>
    Effect.sync(() => {
      if (Socket.isCloseEvent(chunk)) end()
      else send(typeof chunk === "string" ? new TextEncoder().encode(chunk) : chunk)
    })
  return Socket.make({
    reader: Effect.acquireRelease(
      Effect.succeed({ pull: inlet.pull, upgrade: Socket.SocketUpgradeError.unsupported }),
      () => Effect.sync(end)
    ),
    writer: Effect.succeed({ write, writeAll: (chunks) => Effect.forEach(chunks, write, { discard: true }) })
  })
}

const framed = (message: Uint8Array): Uint8Array => {
  const length = Buffer.alloc(4)
  length.writeUInt32LE(message.length)
  return Buffer.concat([length, message])
}

/** A connection of a client to the server. */
export class Connection {
  /** All that the client sent on it, but its signs of life. */
  readonly requests: Array<Protocol.Request> = []
  readonly atClient = new Inlet()
  readonly atServer = new Inlet()
  private codec: Codec = lines
  private cutter = lines.cutter(1e6)
  private keeps: ((request: Protocol.Request) => boolean) | undefined
  private kept: Array<() => void> | undefined
  private isBroken = false

  /** Keeps in the network, from the first such request on, what the client sends. */
  keepFrom(isFirst: (request: Protocol.Request) => boolean): void {
    this.keeps = isFirst
  }

  /** Whether something is kept. */
  get isKeeping(): boolean {
    return this.kept !== undefined
  }

  /** It is over for the client, and nothing more than was sent by now comes to the server, which does not know. */
  breakOff(): void {
    this.isBroken = true
    this.atClient.end()
  }

  /** What was kept comes to the server, if that still has the connection. */
  readonly arrive = Effect.suspend(() => {
    const { kept = [] } = this
    this.kept = this.keeps = undefined
    for (const arrives of kept) arrives()
    return settle
  })

  send(bytes: Uint8Array): void {
    if (this.codec === lines && bytes[0] === beginFrames) {
      this.codec = frames
      this.cutter = frames.cutter(1e6)
      this.pass(() => this.atServer.receive(Uint8Array.of(beginFrames)))
      return this.send(bytes.subarray(1))
    }
    for (const message of this.cutter.push(bytes)) {
      const request = Result.getOrThrow(this.codec.readRequest(message, 32)) as Protocol.Request
      if (request.FileName !== "") this.requests.push(request)
      if (this.keeps?.(request) === true) this.kept ??= []
      // Of the message nothing but a copy stays valid.
      const whole = this.codec === lines ? Buffer.concat([message, Buffer.of(10)]) : framed(message)
      this.pass(() => this.atServer.receive(whole))
    }
  }

  endAtClient(): void {
    this.atClient.end()
    this.pass(() => this.atServer.end())
  }

  private pass(arrives: () => void): void {
    if (this.isBroken) return
    if (this.kept === undefined) arrives()
    else this.kept.push(arrives)
  }
}

/** Lets all go on that can. */
export const settle = TestClock.adjust(0)

/** A connection by hand. */
export interface ByHand extends Connection {
  /** Sends a request, and gives its answer; none where the server has ended the connection. */
  readonly ask: (request: Protocol.Request) => Effect.Effect<Protocol.Response | undefined>
  /** Sends a request, and does not wait. */
  readonly tell: (request: Protocol.Request) => Effect.Effect<void>
}

/** A server over a network, and ways to it. */
export interface Network {
  /** Those of the clients, in the order of their beginning. */
  readonly connections: ReadonlyArray<Connection>
  /** A client of its own, with a session of its own. */
  readonly talker: Layer.Layer<Talker.Talker>
  readonly byHand: Effect.Effect<ByHand>
  /** The request comes once more, on a connection of its own, as by a proxy. Gives what it is answered. */
  readonly repeat: (request: Protocol.Request) => Effect.Effect<Protocol.Response | undefined>
  /** Whether anybody holds a name. */
  readonly isFree: (name: string) => Effect.Effect<boolean>
}

/** Serves a LockServer, in memory unless another is given. */
export const make = Effect.fnUntraced(function*(
  lockServer: Layer.Layer<LockServer.LockServer> = Layer.fresh(LockServer.layerMemory)
) {
  let accept: ((socket: Socket.Socket) => void) | undefined
  const server: SocketServer.SocketServer["Service"] = {
    address: { _tag: "UnixPathAddress", path: "/played" } as never,
    run: (handler) =>
      Effect.contextWith((context) => {
        accept = (socket) => {
          Effect.runForkWith(context)(Effect.ignoreCause(handler(socket)))
        }
        return Effect.never
      })
  }
  yield* Layer.build(SocketLockServer.layer.pipe(
    Layer.provide([lockServer, Identities.layerNone, Layer.succeed(SocketServer.SocketServer, server)])
  ))
  yield* settle
  const open = (connection: Connection) => {
    accept!(socketOf(connection.atServer, (bytes) => connection.atClient.receive(bytes), () => {
      connection.atServer.end()
      connection.atClient.end()
    }))
    return connection
  }
  const connections: Array<Connection> = []
  const connect = Effect.sync(() => {
    const connection = open(new Connection())
    connections.push(connection)
    return socketOf(connection.atClient, (bytes) => connection.send(bytes), () => connection.endAtClient())
  })
  const byHand = Effect.sync((): ByHand => {
    const connection = open(new Connection())
    const tell = (request: Protocol.Request) =>
      Effect.andThen(Effect.sync(() => connection.send(Protocol.encodeRequest({ Seq: "1", ...request }))), settle)
    const answer = Effect.map(connection.atClient.pull, ([bytes]) => {
      const { Seq: _, ...response } = Result.getOrThrow(Protocol.decodeResponse(bytes.subarray(0, -1)))
      return response as Protocol.Response
    })
    return Object.assign(connection, {
      tell,
      ask: (request: Protocol.Request) => Effect.andThen(tell(request), Effect.catch(answer, () => Effect.undefined))
    })
  })
  const repeat = ({ Seq: _, ...request }: Protocol.Request) =>
    Effect.flatMap(byHand, ({ ask }) => ask({ ...request, Seq: "repeated" }))
  const network: Network = {
    connections,
    talker: Layer.fresh(Talker.layerSocket({ connect })),
    byHand,
    repeat,
    isFree: (FileName) =>
      Effect.map(
        repeat({ ID: "nobody", FileName, Action: "TestLock", Expire: 1 }),
        (response) => response?.Status === "Unlocked"
      )
  }
  return network
})

/** The fence of an answer. */
export const fenceOf = (response: Protocol.Response | undefined): string =>
  response?.Status === "Locked" && response.Fence !== undefined
    ? response.Fence
    : assert.fail(`no grant: ${JSON.stringify(response)}`)
