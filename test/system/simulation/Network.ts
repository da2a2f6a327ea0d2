/**
 * A network in virtual time: Effect's `Socket` and `SocketServer` over pipes
 * that lose, hold up, cut and spoil what passes.
 *
 * In one direction of one connection bytes stay in order, as TCP keeps them,
 * though they may be split and merged anywhere; connections overtake one
 * another.
 */
import { Effect, Result } from "effect"
import { Protocol } from "effect-dlm/protocol"
import { Socket, SocketServer } from "effect/socket"
import { Bytes } from "../../../src/protocol/Bytes.ts"
import { beginFrames, type Codec, frames, lines } from "../../../src/protocol/codecs.ts"
import type { Seeded } from "../../support/random.ts"
import type { Machine, Simulator } from "./Simulator.ts"

/** What the network does by chance to what passes, each with its probability. */
export interface Spoiling {
  /** A connection to a server that runs is refused. */
  readonly refuse: number
  /** A connection is not made, and the client is not told. */
  readonly swallow: number
  /** An answer is cut off, and its connection ends. */
  readonly truncate: number
  /** Bytes of an answer are replaced by others that mean nothing. */
  readonly garbage: number
  /** A refusal is replaced by what another client was granted. */
  readonly misdeliver: number
  /** A request is sent once more, on a connection of its own, perhaps much later. */
  readonly duplicate: number
  /** A chunk is held up, and all behind it. */
  readonly holdUp: number
}

export const harmless: Spoiling = {
  refuse: 0,
  swallow: 0,
  truncate: 0,
  garbage: 0,
  misdeliver: 0,
  duplicate: 0,
  holdUp: 0
}

export interface Options {
  /** The usual time of a chunk on its way, in milliseconds. */
  readonly latency: number
  /** The longest that a chunk is held up, and a duplicate late. */
  readonly late: number
  /** A request leaves that will be repeated; and its repetition comes. */
  readonly onRepeat: (request: Protocol.Request) => void
  readonly onDuplicate: (request: Protocol.Request) => void
  readonly onFault: (kind: string) => void
}

const closed = (code: number) => new Socket.SocketError({ reason: new Socket.SocketCloseError({ code }) })
const failed = (cause: string) => new Socket.SocketError({ reason: new Socket.SocketWriteError({ cause }) })
const refused = new Socket.SocketError({ reason: new Socket.SocketOpenError({ kind: "Unknown", cause: "refused" }) })

type Chunks = readonly [Uint8Array, ...Array<Uint8Array>]

/** One end of a connection. */
class End {
  readonly network: Network
  readonly machine: Machine | undefined
  readonly name: string
  readonly connection: Connection
  peer: End | undefined
  /** When the last of what it sent arrives. */
  private lastAt = 0
  private readonly received: Array<Uint8Array> = []
  private error: Socket.SocketError | undefined
  private waiter: ((chunks: Effect.Effect<Chunks, Socket.SocketError>) => void) | undefined
  private ended = false
  /** How many times it has sent something. */
  sent = 0
  /** Whether nothing that it sends from now on comes through, not even its end. */
  isCutOff = false
  /** What it sent, and the network keeps for now. */
  private kept: Array<(peer: End) => void> | undefined
  closed = false

  constructor(network: Network, connection: Connection, name: string, machine: Machine | undefined) {
    this.network = network
    this.connection = connection
    this.name = name
    this.machine = machine
  }

  get gone(): boolean {
    return this.closed || this.machine?.state === "Dead"
  }

  /** Something that this end sends: it happens at the peer, in order, later, or never. */
  private transmit(at: number, what: (peer: End) => void): void {
    if (this.isCutOff) return
    this.lastAt = Math.max(this.lastAt, at)
    this.network.sim.at(this.lastAt, () => this.kept === undefined ? this.deliver(what) : void this.kept.push(what))
  }

  private deliver(what: (peer: End) => void): void {
    const { peer } = this
    if (peer === undefined || this.connection.losesFrom(this)) return
    if (peer.gone) return peer.refuse()
    what(peer)
  }

  /** Keeps what it sends in the network, until a time; then all of it comes through. */
  keepUntil(at: number, onLate: (isTaken: boolean) => void): void {
    if (this.kept !== undefined) return
    this.kept = []
    this.network.sim.at(at, () => {
      const kept = this.kept!
      this.kept = undefined
      for (const what of kept) {
        onLate(this.peer?.gone === false && !this.connection.losesFrom(this))
        this.deliver(what)
      }
    })
  }

  // Nothing listens here any more: the sender is told so.
  private refuse(): void {
    const { peer } = this
    if (peer !== undefined && !peer.gone) {
      this.transmit(this.network.sim.now + this.network.delay(), (peer) => peer.reset())
    }
  }

  send(bytes: Uint8Array): void {
    const { network: { random, sim } } = this
    for (const piece of random.chance(0.2) ? pieces(bytes, random) : [bytes]) {
      this.transmit(sim.now + this.network.delay(), (peer) => peer.receive(piece))
    }
  }

  end(): void {
    if (this.ended || this.closed) return
    this.ended = true
    this.transmit(this.network.sim.now + this.network.delay(), (peer) => peer.fail(1000))
  }

  /** Closes it. What was sent is still delivered, unless something received was never read. */
  close(): void {
    if (this.closed) return
    if (this.received.length > 0) this.abort()
    else {
      this.end()
      this.closed = true
      this.fail(1006)
    }
  }

  /** Ends the connection at once; the peer is told. */
  abort(): void {
    if (this.closed) return
    this.transmit(this.network.sim.now + this.network.delay(), (peer) => peer.reset())
    this.closed = true
    this.received.length = 0
    this.fail(1006)
  }

  reset(): void {
    this.received.length = 0
    this.fail(1006)
  }

  private receive(bytes: Uint8Array): void {
    if (this.error !== undefined) return
    this.received.push(bytes)
    this.wake()
  }

  private fail(code: number): void {
    this.error ??= closed(code)
    this.wake()
  }

  // What has arrived is there; the program sees it when it runs.
  private wake(): void {
    this.machine?.enqueue(() => this.drain())
  }

  private drain(): void {
    if (this.waiter === undefined) return
    const { error, received, waiter } = this
    if (received.length > 0) {
      this.waiter = undefined
      const chunks = received.splice(0)
      waiter(Effect.succeed(
        chunks.length > 1 && this.network.random.chance(0.5) ? [merge(chunks)] : chunks as unknown as Chunks
      ))
    } else if (error !== undefined) {
      this.waiter = undefined
      waiter(Effect.fail(error))
    }
  }

  readonly pull = Effect.callback<Chunks, Socket.SocketError>((resume) => {
    this.waiter = resume
    this.drain()
    return Effect.sync(() => {
      if (this.waiter === resume) this.waiter = undefined
    })
  })

  /** Whether it can still be written to. */
  get writable(): boolean {
    return !this.closed && !this.ended && this.error === undefined
  }

  readonly halfEnd = Effect.sync(() => this.end())
}

/** A connection, and what is wrong with it. */
class Connection {
  /** The end that dialled, and so sends requests. */
  client!: End
  /** How both ends speak: by lines, until the client says otherwise. */
  codec: Codec = lines
  /** From now on nothing comes through from these. */
  private readonly lost = new Set<End>()

  losesFrom(end: End): boolean {
    return this.lost.has(end)
  }

  lose(...ends: ReadonlyArray<End | undefined>): void {
    for (const end of ends) if (end !== undefined) this.lost.add(end)
  }
}

export class Network {
  readonly sim: Simulator
  readonly random: Seeded
  spoiling: Spoiling = harmless
  private readonly options: Options
  private readonly connections: Array<Connection> = []
  private accept: ((end: End) => void) | undefined
  private opened = 0
  private talkers = 0

  constructor(sim: Simulator, random: Seeded, options: Options) {
    this.sim = sim
    this.random = random
    this.options = options
  }

  delay(): number {
    const { options: { late, latency }, random, spoiling } = this
    if (random.chance(spoiling.holdUp)) {
      this.options.onFault("delay")
      return random.between(latency, late)
    }
    return latency * (0.5 + random.double())
  }

  /** Connections that live, to break one of them. */
  private alive(): ReadonlyArray<Connection> {
    for (let i = this.connections.length - 1; i >= 0; i--) {
      const { client } = this.connections[i]!
      if (client.gone || client.peer?.gone !== false) this.connections.splice(i, 1)
    }
    return this.connections
  }

  /** Breaks a connection that lives, if there is one. */
  break(how: "drop" | "half-open" | "reset" | "late"): boolean {
    const alive = this.alive()
    if (alive.length === 0) return false
    const connection = this.random.pick(alive)
    const { client } = connection
    switch (how) {
      case "drop":
        connection.lose(client, client.peer)
        break
      case "half-open":
        connection.lose(this.random.chance(0.5) ? client : client.peer)
        break
      case "reset":
        for (const end of [client, client.peer!]) {
          end.reset()
          connection.lose(end)
        }
        break
      case "late":
        this.delayRequests(connection)
    }
    this.sim.note(client.name, how)
    return true
  }

  /**
   * What the client asks from now on is kept in the network. Soon the connection ends, for the client: it opens another,
   * and asks there again. The server does not know, and some time later what was kept comes to it on the old connection.
   */
  private delayRequests(connection: Connection): void {
    const { options, random, sim } = this
    const { client } = connection
    const endsAt = sim.now + random.between(1, 60)
    const comesAt = endsAt + random.between(0, random.chance(0.3) ? 5 : options.late)
    client.keepUntil(comesAt, (isTaken) => options.onFault(isTaken ? "late, taken" : "late, refused"))
    const isCutOff = random.chance(0.5)
    sim.at(endsAt, () => {
      client.isCutOff = isCutOff
      client.reset()
      connection.lose(client.peer)
    })
  }

  /** The connections of a machine that died: silently, or its system closes them. */
  abandon(machine: Machine, silently: boolean): void {
    for (const connection of this.connections) {
      for (const end of [connection.client, connection.client.peer]) {
        if (end?.machine !== machine) continue
        if (silently) end.closed = true
        else end.abort()
      }
    }
  }

  /** A socket that dials the server when its reader is acquired. */
  socket(machine: Machine): Effect.Effect<Socket.Socket> {
    return Effect.sync(() => {
      const connection = new Connection()
      const end = connection.client = new End(this, connection, `${machine.name}#${++this.opened}`, machine)
      return Socket.make({
        reader: Effect.acquireRelease(this.dial(end), () => Effect.sync(() => end.close()), { interruptible: true })
          .pipe(
            Effect.as({ pull: end.pull, upgrade: Socket.SocketUpgradeError.unsupported })
          ),
        writer: Effect.acquireRelease(
          Effect.succeed(this.writer(end, (bytes) => this.requests(end, bytes))),
          () => end.halfEnd
        )
      })
    })
  }

  private dial(end: End): Effect.Effect<void, Socket.SocketError> {
    return Effect.callback<void, Socket.SocketError>((resume) => {
      const { random, sim, spoiling } = this
      const { machine } = end
      let given = false
      if (random.chance(spoiling.swallow)) {
        this.options.onFault("connect lost")
        return
      }
      sim.after(this.delay(), () => {
        if (given || end.gone) return
        const { accept } = this
        const refuses = random.chance(spoiling.refuse)
        if (refuses) this.options.onFault("connect refused")
        const serverEnd = accept === undefined || refuses ? undefined : new End(this, end.connection, "", this.serving)
        if (serverEnd !== undefined) {
          end.peer = serverEnd
          serverEnd.peer = end
          this.connections.push(end.connection)
          this.serving!.enqueue(() => accept!(serverEnd))
        }
        sim.after(this.delay(), () =>
          machine!.enqueue(() => {
            if (!given) resume(serverEnd === undefined ? Effect.fail(refused) : Effect.void)
          }))
      })
      return Effect.sync(() => {
        given = true
        end.abort()
      })
    })
  }

  private writer(end: End, send: (bytes: Uint8Array) => void): Socket.Writer {
    const write = (chunk: Uint8Array | string | Socket.CloseEvent) =>
      Effect.suspend(() => {
        if (Socket.isCloseEvent(chunk)) {
          if (chunk.code === 1000) end.close()
          else end.abort()
          return Effect.void
        }
        if (!end.writable) return Effect.fail(failed("closed"))
        send(typeof chunk === "string" ? new TextEncoder().encode(chunk) : chunk)
        return Effect.void
      })
    return { write, writeAll: (chunks) => Effect.forEach(chunks, write, { discard: true }) }
  }

  /** By what clients speak, by turns. */
  nextWire(): Codec["wire"] {
    return this.talkers++ % 2 === 0 ? "frames" : "lines"
  }

  private requests(end: End, bytes: Uint8Array): void {
    const { random, spoiling } = this
    const { connection } = end
    end.send(bytes)
    const sent = ++end.sent
    const isBeginning = connection.codec === lines && bytes[0] === beginFrames
    if (isBeginning) connection.codec = frames
    if (!random.chance(spoiling.duplicate)) return
    // What is written at once has whole messages only.
    const messages = messagesOf(connection.codec, isBeginning ? bytes.subarray(1) : bytes)
    if (messages.length === 0) return
    const request = connection.codec.readRequest(random.pick(messages), 32)
    if (Result.isFailure(request)) return
    const { Action } = request.success
    if (Action === undefined || Action === "Version") return
    const repeated: Protocol.Request = { ...request.success, Action }
    this.options.onFault("duplicate")
    this.options.onRepeat(repeated)
    this.sim.after(
      random.between(0, random.chance(0.5) ? 10 : this.options.late),
      () => {
        if (end.sent !== sent) this.options.onFault("reordered")
        this.again(repeated)
      }
    )
  }

  /** As a proxy would: the same request, as a line, on a connection of its own, whose answers are not read. */
  private again(request: Protocol.Request): void {
    const { accept, random, serving } = this
    if (accept === undefined || serving?.state === "Dead") return
    this.options.onDuplicate(request)
    const connection = new Connection()
    const proxy = connection.client = new End(this, connection, "proxy", undefined)
    const serverEnd = new End(this, connection, "", serving)
    proxy.peer = serverEnd
    serverEnd.peer = proxy
    serving!.enqueue(() => accept(serverEnd))
    proxy.send(Protocol.encodeRequest(request))
    this.sim.after((request.Wait ?? 0) + random.between(10, 100), () => proxy.close())
  }

  private answers(end: End, bytes: Uint8Array): void {
    const { options, random, spoiling } = this
    if (end.peer?.machine === undefined) return end.send(bytes)
    if (random.chance(spoiling.misdeliver)) {
      const { codec } = end.connection
      const mixedUp = new Bytes()
      for (const message of messagesOf(codec, bytes)) {
        const { number, response } = Result.getOrThrow(codec.readResponse(message))
        const Seq = number === undefined ? undefined : String(number)
        if (response.Status !== "NotOwner") {
          codec.writeResponse(response, Seq, mixedUp)
          continue
        }
        options.onFault("misdelivered")
        codec.writeResponse({ Status: "Locked", ID: "somebody else", Fence: "1" }, Seq, mixedUp)
      }
      return end.send(merge(mixedUp.take()))
    }
    if (random.chance(spoiling.garbage)) {
      options.onFault("garbage")
      const spoiled = bytes.slice()
      const from = random.below(bytes.length)
      for (let i = from; i < Math.min(bytes.length, from + 4); i++) {
        spoiled[i] = random.chance(0.1)
          ? 10
          : 0x80 + random.below(128)
      }
      return end.send(spoiled)
    }
    if (random.chance(spoiling.truncate)) {
      options.onFault("truncated")
      end.send(bytes.slice(0, random.below(bytes.length)))
      end.machine!.enqueue(() => random.chance(0.5) ? end.close() : end.abort())
      return
    }
    end.send(bytes)
  }

  private serving: Machine | undefined

  /** The service of a machine that is the server now. */
  server(machine: Machine): SocketServer.SocketServer["Service"] {
    return {
      address: { _tag: "UnixPathAddress", path: "/simulation" } as never,
      run: (handler) =>
        Effect.contextWith((context) => {
          this.serving = machine
          this.accept = (end) => {
            const socket = Socket.make({
              reader: Effect.acquireRelease(
                Effect.succeed({ pull: end.pull, upgrade: Socket.SocketUpgradeError.unsupported }),
                () => Effect.sync(() => end.close())
              ),
              writer: Effect.acquireRelease(
                Effect.succeed(this.writer(end, (bytes) => this.answers(end, bytes))),
                () => end.halfEnd
              )
            })
            Effect.runForkWith(context)(Effect.ignoreCause(handler(socket)))
          }
          return Effect.never
        })
    }
  }

  /** The server is down: clients that dial are refused. */
  stopServing(): void {
    this.accept = undefined
    this.serving = undefined
  }
}

const messagesOf = (codec: Codec, bytes: Uint8Array): ReadonlyArray<Uint8Array> => codec.cutter(1e7).push(bytes)

const pieces = (bytes: Uint8Array, random: Seeded): ReadonlyArray<Uint8Array> => {
  const at = random.below(bytes.length)
  return at === 0
    ? [bytes]
    : [bytes.subarray(0, at), ...(random.chance(0.5) ? pieces(bytes.subarray(at), random) : [bytes.subarray(at)])]
}

const merge = (chunks: ReadonlyArray<Uint8Array>): Uint8Array => {
  const merged = new Uint8Array(chunks.reduce((size, chunk) => size + chunk.length, 0))
  let at = 0
  for (const chunk of chunks) {
    merged.set(chunk, at)
    at += chunk.length
  }
  return merged
}
