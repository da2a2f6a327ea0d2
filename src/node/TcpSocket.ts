/**
 * A TCP connection as Effect's Socket, which reads no further than it is asked to.
 *
 * A stream of Node has 64 KiB read ahead for each connection, whether somebody takes them or not: of a thousand
 * connections that is more than all that the server keeps for them. Here all connections read into one small buffer, and
 * each has at most one chunk out of it. What is pulled is valid until the next pull: its memory is used again, since a
 * new one for each chunk is more than is collected in time while many connections send much.
 */
import type { NonEmptyReadonlyArray } from "effect/Array"
import * as Effect from "effect/Effect"
import * as Socket from "effect/socket/Socket"
import * as Net from "node:net"

type Pulled = NonEmptyReadonlyArray<Uint8Array>

/** What many connections read into, and the memory of chunks that are done with: of as many as there were at one time. */
class Memory {
  readonly buffer: Uint8Array
  private readonly free: Array<Uint8Array> = []

  constructor(bytes: number) {
    this.buffer = new Uint8Array(bytes)
  }

  /** Memory with what has been read, so many bytes. */
  take(bytes: number): Uint8Array {
    const memory = this.free.pop() ?? new Uint8Array(this.buffer.length)
    memory.set(this.buffer.subarray(0, bytes))
    return memory
  }

  giveBack(memory: Uint8Array): void {
    this.free.push(memory)
  }
}

/** A process has few connections to servers. */
const ofClients = new Memory(64 * 1024)
/** A thousand clients may have a chunk here each: with 64 KiB of each, a flood would take more than all else. */
const ofServers = new Memory(4 * 1024)

const failed = (reason: Socket.SocketErrorReason) => new Socket.SocketError({ reason })

/** An open connection: what has come in and is not taken, or who waits for it. */
class Inlet {
  readonly net: Net.Socket
  private readonly memory: Memory
  /** Of the chunk that is not taken, or was taken last. */
  private taken: Uint8Array | undefined
  private untaken: Uint8Array | undefined
  private error: Socket.SocketError | undefined
  private waiter: ((chunks: Effect.Effect<Pulled, Socket.SocketError>) => void) | undefined

  constructor(memory: Memory, open: (onread: Net.OnReadOpts) => Net.Socket) {
    this.memory = memory
    this.net = open({ buffer: memory.buffer, callback: (bytes) => this.take(bytes) })
    this.net.on("end", () => this.end(new Socket.SocketCloseError({ code: 1000 })))
    this.net.on("error", (cause) => this.end(new Socket.SocketReadError({ cause })))
    this.net.on("close", (hadError) => this.end(new Socket.SocketCloseError({ code: hadError ? 1006 : 1000 })))
  }

  // Reading stops where nobody waits for more.
  private take(bytes: number): boolean {
    const { waiter } = this
    this.taken = this.memory.take(bytes)
    const chunk = this.taken.subarray(0, bytes)
    this.waiter = undefined
    if (waiter === undefined) this.untaken = chunk
    else waiter(Effect.succeed([chunk]))
    return this.waiter !== undefined
  }

  private giveBack(): void {
    if (this.taken !== undefined) this.memory.giveBack(this.taken)
    this.taken = undefined
  }

  end(reason: Socket.SocketErrorReason): void {
    this.error ??= failed(reason)
    const { waiter } = this
    this.waiter = undefined
    waiter?.(Effect.fail(this.error))
  }

  /** Nobody uses what was pulled any more. */
  close(): void {
    this.end(new Socket.SocketCloseError({ code: 1006 }))
    this.untaken = undefined
    this.giveBack()
    this.net.destroySoon()
  }

  readonly pull = Effect.callback<Pulled, Socket.SocketError>((resume) => {
    const { untaken } = this
    this.untaken = undefined
    if (untaken !== undefined) return resume(Effect.succeed([untaken]))
    this.giveBack()
    if (this.error !== undefined) return resume(Effect.fail(this.error))
    this.waiter = resume
    this.net.resume()
    return Effect.sync(() => {
      if (this.waiter === resume) this.waiter = undefined
    })
  })
}

const make = (open: Effect.Effect<Inlet, Socket.SocketError>): Socket.Socket => {
  let net: Net.Socket | undefined

  const reader = Effect.gen(function*() {
    const inlet = yield* Effect.acquireRelease(
      open,
      (inlet) => Effect.sync(() => inlet.close()),
      { interruptible: true }
    )
    net = inlet.net
    const upgrade = () =>
      Effect.fail(failed(new Socket.SocketUpgradeError({ cause: new Error("this socket has no upgrade to TLS") })))
    return { pull: inlet.pull, upgrade }
  })

  const writeAll = (chunks: NonEmptyReadonlyArray<Uint8Array | string>) =>
    Effect.callback<void, Socket.SocketError>((resume) => {
      const written = (cause?: Error | null) =>
        resume(cause ? Effect.fail(failed(new Socket.SocketWriteError({ cause }))) : Effect.void)
      if (net === undefined) return written(new Error("the socket is not open"))
      // It is over once the network has taken it all, so a deadline for it is for the whole of it.
      const last = chunks.length - 1
      if (last > 0) net.cork()
      for (let i = 0; i < last; i++) net.write(chunks[i]!)
      net.write(chunks[last]!, written)
      if (last > 0) net.uncork()
    })
  const write = (chunk: Uint8Array | string | Socket.CloseEvent) =>
    Socket.isCloseEvent(chunk) ? Effect.sync(() => void net?.destroy()) : writeAll([chunk])
  const writer = Effect.acquireRelease(
    Effect.succeed({ write, writeAll }),
    () => Effect.sync(() => void net?.end())
  )
  return Socket.make({ reader, writer })
}

/** A socket that connects when its reader is acquired. */
export const connect = (options: Net.TcpNetConnectOpts): Effect.Effect<Socket.Socket> =>
  Effect.sync(() =>
    make(Effect.callback((resume) => {
      const refuse = (cause: unknown) =>
        resume(Effect.fail(failed(new Socket.SocketOpenError({ kind: "Unknown", cause }))))
      // What is no port is thrown.
      try {
        const inlet = new Inlet(ofClients, (onread) => Net.connect({ ...options, onread }))
        inlet.net.once("connect", () => resume(Effect.succeed(inlet)))
        inlet.net.once("error", refuse)
        return Effect.sync(() => void inlet.net.destroy())
      } catch (cause) {
        return refuse(cause)
      }
    }))
  )

/** The part of a connection that Node keeps below its streams. */
interface Native {
  _handle?: { readonly useUserBuffer?: unknown } | null
}

/**
 * Takes over a connection of which a server has read nothing yet (`pauseOnConnect`).
 *
 * A connection that is there already can be given its buffer only by the handle that Node keeps below its streams. Where
 * a runtime has none there is no socket, and Effect's own has to do.
 */
export const accepted = (
  from: Net.Socket
): { readonly net: Net.Socket; readonly socket: Socket.Socket } | undefined => {
  const native = from as Native
  const handle = native._handle
  if (typeof handle?.useUserBuffer !== "function") return undefined
  native._handle = null
  from.destroy()
  const options: object = { handle, manualStart: true, allowHalfOpen: true }
  const inlet = new Inlet(ofServers, (onread) => new Net.Socket({ ...options, onread }))
  return { net: inlet.net, socket: make(Effect.succeed(inlet)) }
}
