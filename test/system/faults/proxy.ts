/**
 * A network that fails: ports that lead to servers, and do to what passes through them all that a network does to it,
 * and some things that only a bad middlebox does.
 */
import { Effect, Result } from "effect"
import { Protocol, Wire } from "effect-dlm/protocol"
import * as net from "node:net"
import { setTimeout as sleep } from "node:timers/promises"
import { frames, lines } from "../../../src/protocol/codecs.ts"

/** What can happen to a request on its way. */
const ofRequests = [
  /** For a moment nothing listens, and all connections of the port are reset. */
  "refused",
  /** From now on nothing passes, in either direction, and neither end is told. */
  "blackHole",
  /** It, and all behind it, comes later. */
  "delay",
  /** From now on nothing passes in one direction. */
  "halfOpen",
  /** A part of it arrives, and the connection is reset. */
  "resetMidRequest",
  /** It arrives again, on a connection of its own. */
  "duplicate",
  /** It arrives again, when it is long answered, and its lock perhaps given back. */
  "lateDuplicate",
  /** It arrives byte by byte. */
  "singleBytes",
  /** It arrives together with those behind it. */
  "merged"
] as const

/** What can happen to an answer. */
const ofAnswers = [
  "delay",
  "halfOpen",
  /** A part of it arrives, and the connection is closed. */
  "truncated",
  /** Something else arrives. */
  "garbage",
  /** The connection is reset, though the server has done what was asked. */
  "answerLost",
  /** It arrives when it is not waited for any more; others overtake it. */
  "lateAnswer",
  "singleBytes",
  "merged"
] as const

export type Fault = typeof ofRequests[number] | typeof ofAnswers[number]

export const faults: ReadonlyArray<Fault> = Array.from(new Set([...ofRequests, ...ofAnswers]))

export interface Options {
  readonly gates: number
  /** The ports of the servers, as they are now. A connection is led to any of them. */
  readonly servers: () => ReadonlyArray<number>
  /** How likely a line or a frame is to meet a fault. */
  readonly likelihood: number
  /** The time to live of the locks, and after how long no request is waited for any more, in milliseconds. */
  readonly ttl: number
  readonly patience: number
}

type Item = { readonly line: Buffer; readonly special?: () => Promise<void> | void }

/** The byte by which a client says that frames follow, both ways. */
const beginFrames = 0

/** One direction of a connection: what comes in leaves in the same order, unless it is lost. */
class Lane {
  /** Nothing passes any more. */
  dead = false
  /** Whether frames come, or lines. */
  isFramed = false
  private rest: Buffer = Buffer.alloc(0)
  private readonly items: Array<Item> = []
  private busy = false
  readonly to: net.Socket

  constructor(to: net.Socket) {
    this.to = to
  }

  /** The lines or frames that a chunk completes, with their ends or lengths. */
  cut(chunk: Buffer): Array<Buffer> {
    const messages: Array<Buffer> = []
    let bytes = this.rest.length === 0 ? chunk : Buffer.concat([this.rest, chunk])
    for (let end = this.endOfFirst(bytes); end !== undefined; end = this.endOfFirst(bytes)) {
      messages.push(bytes.subarray(0, end))
      bytes = bytes.subarray(end)
    }
    this.rest = bytes
    return messages
  }

  private endOfFirst(bytes: Buffer): number | undefined {
    const end = this.isFramed ? bytes.length < 4 ? Infinity : 4 + bytes.readUInt32LE() : bytes.indexOf(10) + 1
    return end > 0 && end <= bytes.length ? end : undefined
  }

  push(item: Item): void {
    this.items.push(item)
    if (!this.busy) void this.run()
  }

  private async run(): Promise<void> {
    this.busy = true
    for (let item = this.items.shift(); item !== undefined; item = this.items.shift()) {
      if (item.special === undefined) this.write(item.line)
      else await item.special()
    }
    this.busy = false
  }

  /** The lines that wait behind the present one, and that nothing happens to. */
  following(): Array<Buffer> {
    const lines: Array<Buffer> = []
    while (this.items[0] !== undefined && this.items[0].special === undefined) lines.push(this.items.shift()!.line)
    return lines
  }

  write(bytes: Uint8Array): void {
    if (!this.dead && this.to.writable) this.to.write(bytes)
  }
}

const garbage = (): Uint8Array => {
  const all = [
    Buffer.from("HTTP/1.1 400 Bad Request\r\nConnection: close\r\n\r\n"),
    Buffer.concat([crypto.getRandomValues(new Uint8Array(40)), Buffer.from("\n")]),
    Buffer.from("\n"),
    Wire.encodeLine("{\"Status\":"),
    Wire.encodeLine("{\"Status\":\"Perhaps\"}"),
    Wire.encodeLine("[null]"),
    Buffer.from("zz\n")
  ]
  return all[Math.floor(Math.random() * all.length)]!
}

const between = (from: number, to: number): number => from + Math.random() * (to - from)
const oneOf = <A>(all: ReadonlyArray<A>): A => all[Math.floor(Math.random() * all.length)]!

const actionOf = (message: Buffer, isFramed: boolean): Protocol.Action | undefined => {
  const request = isFramed
    ? frames.readRequest(message.subarray(4), 32)
    : lines.readRequest(message.subarray(0, -1), 32)
  return Result.isSuccess(request) ? request.success.Action : undefined
}

/** What makes a connection one of frames: the question for what the server can, and the byte after its answer. */
const version = Protocol.encodeRequest({ Seq: "0", ID: "", FileName: "", Action: "Version", Expire: 0 })

/** What all ports share: which faults there were, and what is still to come. */
class Nemesis {
  readonly options: Options
  /** How many messages came as lines, and as frames. */
  readonly passed = { lines: 0, frames: 0 }
  /** How often each fault has happened. */
  readonly fired = Object.fromEntries(faults.map((fault) => [fault, 0])) as Record<Fault, number>
  calm = false
  private readonly timers = new Set<NodeJS.Timeout>()

  constructor(options: Options) {
    this.options = options
  }

  later(millis: number, what: () => void): void {
    const timer = setTimeout(() => {
      this.timers.delete(timer)
      what()
    }, millis)
    this.timers.add(timer)
  }

  forgetAll(): void {
    this.timers.forEach(clearTimeout)
  }

  /** Mostly the one that was had least often, so that each has its turn. */
  choose(among: ReadonlyArray<Fault>): Fault | undefined {
    const { fired } = this
    if (this.calm || Math.random() >= this.options.likelihood) return undefined
    if (Math.random() < 0.3) return oneOf(among)
    return among.reduce((least, fault) => fired[fault] < fired[least] ? fault : least, oneOf(among))
  }

  connect(): net.Socket {
    return net.connect({ port: oneOf(this.options.servers()), host: "127.0.0.1" })
  }

  sendAgain(message: Buffer, isFramed: boolean, fault: Fault): void {
    const socket = this.connect()
    const send = () => {
      socket.once("data", () => {
        this.fired[fault]++
        socket.destroy()
      })
      socket.write(message)
    }
    socket.on("error", () => {})
    socket.setTimeout(this.options.patience, () => socket.destroy())
    if (!isFramed) return send()
    socket.write(version)
    socket.once("data", () => {
      socket.write(Buffer.of(beginFrames))
      send()
    })
  }

  delay(lane: Lane, line: Buffer): Item {
    const special = async () => {
      await sleep(between(5, 250))
      this.fired.delay++
      lane.write(line)
    }
    return { line, special }
  }

  singleBytes(lane: Lane, line: Buffer): Item {
    const special = async () => {
      for (const byte of line) {
        lane.write(Buffer.of(byte))
        await new Promise(setImmediate)
      }
      this.fired.singleBytes++
    }
    return { line, special }
  }

  merged(lane: Lane, line: Buffer): Item {
    const special = async () => {
      await sleep(20)
      const following = lane.following()
      if (following.length > 0) this.fired.merged++
      lane.write(Buffer.concat([line, ...following]))
    }
    return { line, special }
  }
}

/** A connection of a client, led to a server. */
class Link {
  private readonly nemesis: Nemesis
  private readonly near: net.Socket
  private readonly far: net.Socket
  private readonly requests: Lane
  private readonly answers: Lane
  private readonly refuse: () => void

  constructor(nemesis: Nemesis, near: net.Socket, refuse: () => void) {
    const far = this.far = nemesis.connect()
    this.nemesis = nemesis
    this.near = near
    this.refuse = refuse
    const requests = this.requests = new Lane(far)
    const answers = this.answers = new Lane(near)
    near.setNoDelay(true)
    far.setNoDelay(true)
    near.on("error", () => {})
    near.on("close", () => far.destroy())
    far.on("error", () => {})
    far.on("close", () => {
      if (!answers.dead) near.destroy()
    })
    near.on(
      "data",
      (chunk: Buffer) => requests.dead || requests.cut(this.afterBeginning(chunk)).forEach((line) => this.request(line))
    )
    far.on("data", (chunk: Buffer) => answers.dead || answers.cut(chunk).forEach((line) => this.answer(line)))
  }

  // The client has all its answers then, so nothing is on its way.
  private afterBeginning(chunk: Buffer): Buffer {
    const { answers, requests } = this
    if (requests.isFramed || chunk[0] !== beginFrames) return chunk
    requests.isFramed = answers.isFramed = true
    requests.push({ line: chunk.subarray(0, 1) })
    return chunk.subarray(1)
  }

  private reset(): void {
    this.near.resetAndDestroy()
    this.far.resetAndDestroy()
  }

  private request(line: Buffer): void {
    const { nemesis, requests } = this
    const { fired } = nemesis
    nemesis.passed[requests.isFramed ? "frames" : "lines"]++
    const fault = nemesis.choose(ofRequests)
    switch (fault) {
      case undefined:
        return requests.push({ line })
      case "refused":
        fired.refused++
        return this.refuse()
      case "blackHole":
        fired.blackHole++
        requests.dead = this.answers.dead = true
        return
      case "halfOpen":
        fired.halfOpen++
        requests.dead = true
        return
      case "delay":
        return requests.push(nemesis.delay(requests, line))
      case "resetMidRequest":
        return requests.push({ line, special: () => this.resetMidRequest(line) })
      case "singleBytes":
        return requests.push(nemesis.singleBytes(requests, line))
      case "merged":
        return requests.push(nemesis.merged(requests, line))
      default:
        requests.push({ line })
        this.again(line, fault === "duplicate")
    }
  }

  private async resetMidRequest(line: Buffer): Promise<void> {
    this.requests.write(line.subarray(0, between(1, line.length - 1)))
    // So that the server has it before the reset.
    await sleep(5)
    this.nemesis.fired.resetMidRequest++
    this.reset()
  }

  private again(line: Buffer, atOnce: boolean): void {
    const { nemesis, requests: { isFramed } } = this
    const action = actionOf(line, isFramed)
    if (action === "Version" || action === "Get" || action === "TestLock") return
    if (atOnce) nemesis.sendAgain(line, isFramed, "duplicate")
    else {nemesis.later(between(0.2, 2.5) * nemesis.options.ttl, () =>
        nemesis.sendAgain(line, isFramed, "lateDuplicate"))}
  }

  private answer(line: Buffer): void {
    const { answers, nemesis } = this
    const { fired } = nemesis
    switch (nemesis.choose(ofAnswers)) {
      case "halfOpen":
        fired.halfOpen++
        answers.dead = true
        return
      case "delay":
        return answers.push(nemesis.delay(answers, line))
      case "truncated":
        return answers.push({ line, special: () => this.truncate(line) })
      case "garbage":
        return answers.push({
          line,
          special: () => {
            fired.garbage++
            answers.write(garbage())
          }
        })
      case "answerLost":
        fired.answerLost++
        return this.reset()
      case "lateAnswer":
        return nemesis.later(nemesis.options.patience * between(1.1, 1.5), () => {
          if (answers.dead || this.near.destroyed) return
          fired.lateAnswer++
          answers.push({ line })
        })
      case "singleBytes":
        return answers.push(nemesis.singleBytes(answers, line))
      case "merged":
        return answers.push(nemesis.merged(answers, line))
      default:
        return answers.push({ line })
    }
  }

  private truncate(line: Buffer): void {
    this.nemesis.fired.truncated++
    this.answers.write(line.subarray(0, between(1, line.length - 1)))
    this.near.end()
    this.answers.dead = true
    this.far.destroy()
  }
}

/** A port that leads to the servers. */
class Gate {
  port = 0
  private readonly nemesis: Nemesis
  private readonly near = new Set<net.Socket>()
  private listening!: net.Server

  constructor(nemesis: Nemesis) {
    this.nemesis = nemesis
  }

  listen(onceListening: () => void): void {
    this.listening = net.createServer((near) => {
      this.near.add(near)
      near.on("close", () => this.near.delete(near))
      return new Link(this.nemesis, near, () => this.refuse(onceListening))
    })
    // Another process may have been given the port meanwhile: it gives it back.
    this.listening.on("error", () => this.nemesis.later(50, () => this.listen(onceListening)))
    this.listening.listen(this.port, "127.0.0.1", () => {
      this.port = (this.listening.address() as net.AddressInfo).port
      onceListening()
    })
  }

  private refuse(onceListening: () => void): void {
    if (!this.listening.listening) return
    this.close()
    this.nemesis.later(between(20, 120), () => this.listen(onceListening))
  }

  /** How many connections of clients are open. */
  get open(): number {
    return this.near.size
  }

  close(): void {
    this.listening.close()
    this.near.forEach((socket) => socket.resetAndDestroy())
  }
}

/** Opens ports on which it happens, closed with the scope. */
export const proxy = Effect.fnUntraced(function*(options: Options) {
  const nemesis = new Nemesis(options)
  const open = Effect.acquireRelease(
    Effect.callback<Gate>((resume) => {
      const gate = new Gate(nemesis)
      gate.listen(() => resume(Effect.succeed(gate)))
    }),
    (gate) => Effect.sync(() => gate.close())
  )
  const gates = yield* Effect.replicateEffect(open, options.gates)
  yield* Effect.addFinalizer(() => Effect.sync(() => nemesis.forgetAll()))
  return {
    ports: gates.map(({ port }) => port),
    /** How often each fault has happened. */
    fired: nemesis.fired as Readonly<Record<Fault, number>>,
    /** How many messages of clients came as lines, and as frames. */
    passed: nemesis.passed as { readonly lines: number; readonly frames: number },
    /** How many connections of clients are open, or not noticed to be closed. */
    open: () => gates.reduce((sum, { open }) => sum + open, 0),
    /** From now on nothing more goes wrong. */
    calm: () => void (nemesis.calm = true)
  }
})
