/**
 * A network that fails: ports that lead to servers, and do to what passes through them all that a network does to it,
 * and some things that only a bad middlebox does.
 */
import { Effect, Result } from "effect"
import { Protocol, Wire } from "effect-dlm/protocol"
import * as net from "node:net"
import { setTimeout as sleep } from "node:timers/promises"

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
  /** How likely a line is to meet a fault. */
  readonly likelihood: number
  /** The time to live of the locks, and after how long no request is waited for any more, in milliseconds. */
  readonly ttl: number
  readonly patience: number
}

type Item = { readonly line: Buffer; readonly special?: () => Promise<void> | void }

/** One direction of a connection: what comes in leaves in the same order, unless it is lost. */
class Lane {
  /** Nothing passes any more. */
  dead = false
  private rest: Buffer = Buffer.alloc(0)
  private readonly items: Array<Item> = []
  private busy = false
  readonly to: net.Socket

  constructor(to: net.Socket) {
    this.to = to
  }

  /** The lines that a chunk completes, with their ends. */
  cut(chunk: Buffer): Array<Buffer> {
    const lines: Array<Buffer> = []
    let bytes = this.rest.length === 0 ? chunk : Buffer.concat([this.rest, chunk])
    for (let at = bytes.indexOf(10); at !== -1; at = bytes.indexOf(10)) {
      lines.push(bytes.subarray(0, at + 1))
      bytes = bytes.subarray(at + 1)
    }
    this.rest = bytes
    return lines
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

const actionOf = (line: Buffer): Protocol.Action | undefined => {
  const request = Protocol.decodeRequest(line.subarray(0, -1), 32)
  return Result.isSuccess(request) ? request.success.Action : undefined
}

/** Opens ports on which it happens, closed with the scope. */
export const proxy = Effect.fnUntraced(function*(options: Options) {
  const fired = Object.fromEntries(faults.map((fault) => [fault, 0])) as Record<Fault, number>
  const timers = new Set<NodeJS.Timeout>()
  let calm = false

  const later = (millis: number, what: () => void) => {
    const timer = setTimeout(() => {
      timers.delete(timer)
      what()
    }, millis)
    timers.add(timer)
  }

  // Mostly the one that was had least often, so that each has its turn.
  const choose = (among: ReadonlyArray<Fault>): Fault | undefined => {
    if (calm || Math.random() >= options.likelihood) return undefined
    if (Math.random() < 0.3) return oneOf(among)
    return among.reduce((least, fault) => fired[fault] < fired[least] ? fault : least, oneOf(among))
  }

  const sendAgain = (line: Buffer, fault: Fault) => {
    const socket = net.connect({ port: oneOf(options.servers()), host: "127.0.0.1" })
    socket.on("error", () => {})
    socket.on("data", () => {
      fired[fault]++
      socket.destroy()
    })
    socket.setTimeout(options.patience, () => socket.destroy())
    socket.write(line)
  }

  const link = (near: net.Socket, links: Set<net.Socket>, refuse: () => void) => {
    const far = net.connect({ port: oneOf(options.servers()), host: "127.0.0.1" })
    near.setNoDelay(true)
    far.setNoDelay(true)
    links.add(near)
    const requests = new Lane(far)
    const answers = new Lane(near)
    const reset = () => {
      near.resetAndDestroy()
      far.resetAndDestroy()
    }
    near.on("error", () => {})
    near.on("close", () => {
      links.delete(near)
      far.destroy()
    })
    far.on("error", () => {})
    far.on("close", () => {
      if (!answers.dead) near.destroy()
    })

    const delay = (lane: Lane, line: Buffer): Item => ({
      line,
      special: async () => {
        await sleep(between(5, 250))
        fired.delay++
        lane.write(line)
      }
    })
    const singleBytes = (lane: Lane, line: Buffer): Item => ({
      line,
      special: async () => {
        for (const byte of line) {
          lane.write(Buffer.of(byte))
          await new Promise(setImmediate)
        }
        fired.singleBytes++
      }
    })
    const merged = (lane: Lane, line: Buffer): Item => ({
      line,
      special: async () => {
        await sleep(20)
        const following = lane.following()
        if (following.length > 0) fired.merged++
        lane.write(Buffer.concat([line, ...following]))
      }
    })

    const request = (line: Buffer): void => {
      const fault = choose(ofRequests)
      switch (fault) {
        case undefined:
          return requests.push({ line })
        case "refused":
          fired.refused++
          return refuse()
        case "blackHole":
          fired.blackHole++
          requests.dead = answers.dead = true
          return
        case "halfOpen":
          fired.halfOpen++
          requests.dead = true
          return
        case "delay":
          return requests.push(delay(requests, line))
        case "resetMidRequest":
          return requests.push({
            line,
            special: async () => {
              requests.write(line.subarray(0, between(1, line.length - 1)))
              // So that the server has it before the reset.
              await sleep(5)
              fired.resetMidRequest++
              reset()
            }
          })
        case "singleBytes":
          return requests.push(singleBytes(requests, line))
        case "merged":
          return requests.push(merged(requests, line))
        default: {
          requests.push({ line })
          const action = actionOf(line)
          if (action === "Version" || action === "Get" || action === "TestLock") return
          if (fault === "duplicate") sendAgain(line, fault)
          else later(between(0.2, 2.5) * options.ttl, () => sendAgain(line, "lateDuplicate"))
        }
      }
    }
    const answer = (line: Buffer): void => {
      const fault = choose(ofAnswers)
      switch (fault) {
        case "halfOpen":
          fired.halfOpen++
          answers.dead = true
          return
        case "delay":
          return answers.push(delay(answers, line))
        case "truncated":
          return answers.push({
            line,
            special: () => {
              fired.truncated++
              answers.write(line.subarray(0, between(1, line.length - 1)))
              near.end()
              answers.dead = true
              far.destroy()
            }
          })
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
          return reset()
        case "lateAnswer":
          return later(options.patience * between(1.1, 1.5), () => {
            if (answers.dead || near.destroyed) return
            fired.lateAnswer++
            answers.push({ line })
          })
        case "singleBytes":
          return answers.push(singleBytes(answers, line))
        case "merged":
          return answers.push(merged(answers, line))
        default:
          return answers.push({ line })
      }
    }
    near.on("data", (chunk: Buffer) => requests.dead || requests.cut(chunk).forEach(request))
    far.on("data", (chunk: Buffer) => answers.dead || answers.cut(chunk).forEach(answer))
  }

  const open = () =>
    Effect.acquireRelease(
      Effect.callback<{ readonly port: number; readonly close: Effect.Effect<void> }>((resume) => {
        const links = new Set<net.Socket>()
        let port = 0
        let listening: net.Server
        const listen = () => {
          listening = net.createServer((near) => link(near, links, refuse))
          // Another process may have been given the port meanwhile: it gives it back.
          listening.on("error", () => later(50, listen))
          listening.listen(port, "127.0.0.1", () => {
            port = (listening.address() as net.AddressInfo).port
            resume(Effect.succeed({ port, close }))
          })
        }
        const cut = () => links.forEach((socket) => socket.resetAndDestroy())
        const refuse = () => {
          if (!listening.listening) return
          listening.close()
          cut()
          later(between(20, 120), listen)
        }
        const close = Effect.sync(() => {
          listening.close()
          cut()
        })
        listen()
      }),
      ({ close }) => close
    )

  const gates = yield* Effect.replicateEffect(open(), options.gates)
  yield* Effect.addFinalizer(() => Effect.sync(() => timers.forEach(clearTimeout)))
  return {
    ports: gates.map(({ port }) => port),
    /** How often each fault has happened. */
    fired: fired as Readonly<Record<Fault, number>>,
    /** From now on nothing more goes wrong. */
    calm: () => void (calm = true)
  }
})
