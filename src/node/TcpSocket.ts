/**
 * A TCP connection as Effect's Socket, which reads no further than it is asked to.
 *
 * A stream of Node reads 64 KiB ahead for each connection, even when nothing pulls them: for a thousand connections that
 * is more than all else that the server keeps for them. Here all connections read into one small buffer, and each has a
 * copy of at most one chunk of it. A chunk is valid until the next pull: then its memory is used again, since the garbage
 * collector falls behind when many connections send much and each chunk has memory of its own.
 */
import type { NonEmptyReadonlyArray } from "effect/Array"
import * as Effect from "effect/Effect"
import * as Socket from "effect/socket/Socket"
import * as Net from "node:net"
import type { Finishing } from "../transport/Outbox.ts"

type Pulled = NonEmptyReadonlyArray<Uint8Array>

/**
 * The buffer that many connections read into, and the memory of chunks that have been used. There is as much of it as
 * there were chunks at one time.
 */
class Memory {
  readonly buffer: Uint8Array
  private readonly free: Array<Uint8Array> = []

  constructor(bytes: number) {
    this.buffer = new Uint8Array(bytes)
  }

  /** A copy of the bytes that have been read. Only as much of the memory as was asked for has them. */
  copy(bytes: number): Uint8Array {
    const memory = this.free.pop() ?? new Uint8Array(this.buffer.length)
    memory.set(this.buffer.subarray(0, bytes))
    return memory
  }

  /** Lets a later chunk use this memory. */
  giveBack(memory: Uint8Array): void {
    this.free.push(memory)
  }
}

/**
 * After so many milliseconds of silence the system asks the other side of a connection whether it is still there, and takes
 * it for gone after some ten seconds without an answer. It tells a machine that has gone from a client that says nothing.
 */
export const keepAliveMillis = 30_000

/** A process has few connections to servers, so the buffer can be large. */
const ofClients = new Memory(64 * 1024)
/** A thousand clients may have a chunk each: at 64 KiB each, a flood of requests would need more memory than all else. */
const ofServers = new Memory(4 * 1024)

/** The code of a connection that is closed; with any other it is reset. */
const inOrder = 1000

const failed = (reason: Socket.SocketErrorReason) => new Socket.SocketError({ reason })

/** An open connection: a chunk that has come in and was not pulled yet, or the pull that waits for one. */
class Inlet {
  readonly net: Net.Socket
  private readonly memory: Memory
  /** The memory of the chunk that is to be pulled, or was pulled last. */
  private copied: Uint8Array | undefined
  private unpulled: Uint8Array | undefined
  /** How it ended, made only for who asks: an error keeps where it was made, and most connections end with nobody asking. */
  private ended: (() => Socket.SocketErrorReason) | undefined
  private waiter: ((chunks: Effect.Effect<Pulled, Socket.SocketError>) => void) | undefined

  constructor(memory: Memory, open: (onread: Net.OnReadOpts) => Net.Socket) {
    this.memory = memory
    this.net = open({ buffer: memory.buffer, callback: (bytes) => this.read(bytes) })
    this.net.on("end", () => this.end(() => new Socket.SocketCloseError({ code: 1000 })))
    this.net.on("error", (cause) => this.end(() => new Socket.SocketReadError({ cause })))
    this.net.on("close", (hadError) => this.end(() => new Socket.SocketCloseError({ code: hadError ? 1006 : 1000 })))
  }

  // Gives Node false where no pull waits for more, so that it stops reading.
  private read(bytes: number): boolean {
    const { waiter } = this
    this.copied = this.memory.copy(bytes)
    const chunk = this.copied.subarray(0, bytes)
    this.waiter = undefined
    if (waiter === undefined) this.unpulled = chunk
    else waiter(Effect.succeed([chunk]))
    return this.waiter !== undefined
  }

  private giveBack(): void {
    if (this.copied !== undefined) this.memory.giveBack(this.copied)
    this.copied = undefined
  }

  /** Fails the pull that waits, and all later ones. What has come in before can still be pulled. */
  end(reason: () => Socket.SocketErrorReason): void {
    this.ended ??= reason
    const { waiter } = this
    this.waiter = undefined
    waiter?.(Effect.fail(failed(this.ended())))
  }

  /** Ends the connection. The chunk that was pulled last must not be used any more. */
  close(): void {
    this.end(() => new Socket.SocketCloseError({ code: 1006 }))
    this.unpulled = undefined
    this.giveBack()
    this.net.destroySoon()
  }

  /** The next chunk, valid until the next pull. */
  readonly pull = Effect.callback<Pulled, Socket.SocketError>((resume) => {
    const { unpulled } = this
    this.unpulled = undefined
    if (unpulled !== undefined) return resume(Effect.succeed([unpulled]))
    this.giveBack()
    if (this.ended !== undefined) return resume(Effect.fail(failed(this.ended())))
    this.waiter = resume
    this.net.resume()
    return Effect.sync(() => {
      if (this.waiter === resume) this.waiter = undefined
    })
  })
}

// What the system has taken and not yet sent dies with a reset, and is still sent after a close.
const leave = (net: Net.Socket | undefined, code: number): void => {
  if (code === inOrder) net?.destroy()
  else net?.resetAndDestroy()
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
      // It ends once the network has accepted all chunks, so a deadline for it is for the whole.
      const last = chunks.length - 1
      if (last > 0) net.cork()
      for (let i = 0; i < last; i++) net.write(chunks[i]!)
      net.write(chunks[last]!, written)
      if (last > 0) net.uncork()
    })
  const write = (chunk: Uint8Array | string | Socket.CloseEvent) =>
    Socket.isCloseEvent(chunk) ? Effect.sync(() => leave(net, chunk.code)) : writeAll([chunk])
  const writer = Effect.acquireRelease(
    Effect.succeed<Finishing>({ write, writeAll, isDoneOnceWritten: true }),
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
      // `connect` throws where the port is no port.
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
 * Node takes `onread` only when a socket is made, and a server makes its sockets without one. So the connection's handle,
 * which Node keeps below its streams, undocumented, is moved to a new socket. Undefined where a runtime has no such
 * handle: Effect's own socket has to do then.
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
