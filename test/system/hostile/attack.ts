/**
 * Hostile clients in a process of their own, so that they take no time from the process that measures:
 *
 *     node test/hostile/attack.ts '{"port":37373,"kind":"Slow","count":1000}'
 *
 * Prints `ready` once all of them have been connected. A connection that the server ends is made anew, until the process
 * is killed, or its input ends.
 */
import * as Net from "node:net"
import * as byHand from "../../support/frames.ts"
import * as codec from "./codec.ts"

/** What each of the connections does. */
export type Kind =
  /** It sends a byte of a message each second. */
  | "Slow"
  /** It has asked once, and says nothing more. */
  | "Idle"
  /** It is reset in the middle of a line, and another comes. */
  | "Reset"
  /** It sends as much as it can, of a message that never ends. */
  | "Endless"
  /** It sends as many messages as it can, which are no requests. */
  | "Lines"
  /** It sends as much of a message as is allowed, and no end. */
  | "Unfinished"
  /** It asks for data as often as it can, and takes none. */
  | "Deaf"
  /** It waits for a lock as often as it may, and more often. */
  | "Waiting"

export interface Options {
  readonly port: number
  readonly kind: Kind
  readonly count: number
  /** By what they speak, once they have asked for the version. By default lines. */
  readonly wire?: "lines" | "frames"
  /** Where they come from, in turn. By default 127.0.0.1. */
  readonly addresses?: ReadonlyArray<string>
  /** How many connections there may be altogether. By default there is no end. */
  readonly total?: number
}

/** How long the server lets a request take, in milliseconds. */
const lifetime = 5000

/** So that resets go on for a while, in milliseconds. */
const betweenResets = 20

const seq = (fields: object) => codec.line({ Seq: "1", ...fields })
const frame = (fields: object) => byHand.request({ Seq: "1", ...fields })

const version = seq({ ID: "idle", FileName: "", Action: "Version", Expire: "0" })
const beginFrames = Buffer.of(0)

/** What an anonymous client may send of one line, less a little, since one byte more is answered. */
const almostALine = 65_000

let waiter = 0
const garbage = Buffer.alloc(64 * 1024, "a")
const lines = Buffer.alloc(64 * 1024, `${"a".repeat(63)}\n`)
/** Frames with a number, so that their connection goes on, and nothing else. */
const emptyFrames = Buffer.alloc(13 * 5000, byHand.part(Buffer.of(1, 1, 0, 0, 0, 0, 0, 0, 0)))
const uint32 = (value: number) => Buffer.of(value, value >>> 8, value >>> 16, value >>> 24)
const about = { FileName: "deaf", Expire: "3000" }

const behave = ({ kind, wire }: Options, socket: Net.Socket): void => {
  const isFramed = wire === "frames"
  const message = isFramed ? frame : seq
  const keepSending = (bytes: Buffer) => {
    const more = () => {
      while (!socket.destroyed && socket.write(bytes));
    }
    socket.on("drain", more)
    more()
  }
  switch (kind) {
    case "Slow": {
      const timer = setInterval(() => socket.write("a"), 1000)
      socket.on("close", () => clearInterval(timer))
      return
    }
    case "Idle":
      return void socket.write(message({ ID: "idle", FileName: "", Action: "Version", Expire: "0" }))
    case "Reset":
      return void socket.write(garbage.subarray(0, 100), () => socket.resetAndDestroy())
    case "Endless":
      if (isFramed) socket.write(uint32(2 ** 32 - 1))
      return keepSending(garbage)
    case "Lines":
      return keepSending(isFramed ? emptyFrames : lines)
    case "Unfinished":
      if (isFramed) socket.write(uint32(almostALine + 100))
      return void socket.write(garbage.subarray(0, almostALine))
    case "Waiting": {
      const wanted = { FileName: "wanted", Action: "Lock", Expire: "3000" }
      socket.write(message({ ...wanted, ID: "holder" }))
      const all = Array.from({ length: 1500 }, () => message({ ...wanted, ID: `waiter ${waiter++}`, Wait: "3600000" }))
      return void socket.write(Buffer.concat(all))
    }
    case "Deaf": {
      socket.pause()
      const mine = { ...about, ID: "deaf" }
      socket.write(message({ ...mine, Action: "Put", DataStore: "x".repeat(16_384) }))
      return keepSending(Buffer.concat(Array.from({ length: 200 }, () => message({ ...mine, Action: "Get" }))))
    }
  }
}

/** Speaks frames, once the server has offered them. */
const framed = (socket: Net.Socket, then: () => void): void => {
  socket.write(version)
  socket.once("data", () => {
    socket.write(beginFrames)
    then()
  })
}

const attack = (options: Options): void => {
  const { addresses = ["127.0.0.1"], count, kind, port, total = Infinity, wire } = options
  let made = 0
  let waiting = count
  const begin = () => {
    if (made >= total) return
    const localAddress = addresses[made++ % addresses.length]!
    const socket = Net.connect({ host: "127.0.0.1", port, localAddress, noDelay: true })
    if (kind !== "Deaf" || wire === "frames") socket.on("data", () => {})
    socket.on("error", () => {})
    socket.once("connect", () => {
      if (--waiting === 0) console.log("ready")
      if (wire === "frames") framed(socket, () => behave(options, socket))
      else behave(options, socket)
    })
    socket.once("close", () => setTimeout(begin, kind === "Reset" ? betweenResets : 0))
  }
  // Slow ones are not slow in step: else the server would end them all at once, and all would come again.
  for (let i = 0; i < count; i++) setTimeout(begin, kind === "Slow" ? i * (lifetime / count) : 0)
}

if (import.meta.main) {
  process.stdin.resume().on("end", () => process.exit())
  attack(JSON.parse(process.argv[2] ?? "{}"))
}
