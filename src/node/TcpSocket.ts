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

type Chunks = NonEmptyReadonlyArray<Uint8Array>

const chunkBytes = 4096

const shared = new Uint8Array(chunkBytes)

/** The memory of chunks that are done with. There is never more than connections have had at one time. */
const free: Array<Uint8Array> = []

const failed = (reason: Socket.SocketErrorReason) => new Socket.SocketError({ reason })

/** An open connection: what has come in and is not taken, or who waits for it. */
class Inlet {
  readonly net: Net.Socket
  /** The memory of the chunk that is not taken, or was taken last. */
  private memory: Uint8Array | undefined
  private untaken: Uint8Array | undefined
  private error: Socket.SocketError | undefined
  private waiter: ((chunks: Effect.Effect<Chunks, Socket.SocketError>) => void) | undefined

  constructor(open: (onread: Net.OnReadOpts) => Net.Socket) {
    this.net = open({ buffer: shared, callback: (bytes, buffer) => this.take(buffer.subarray(0, bytes)) })
    this.net.on("end", () => this.end(new Socket.SocketCloseError({ code: 1000 })))
    this.net.on("error", (cause) => this.end(new Socket.SocketReadError({ cause })))
    this.net.on("close", (hadError) => this.end(new Socket.SocketCloseError({ code: hadError ? 1006 : 1000 })))
  }

  // Reading stops where nobody waits for more.
  private take(bytes: Uint8Array): boolean {
    const { waiter } = this
    this.memory = free.pop() ?? new Uint8Array(chunkBytes)
    this.memory.set(bytes)
    const chunk = this.memory.subarray(0, bytes.length)
    this.waiter = undefined
    if (waiter === undefined) this.untaken = chunk
    else waiter(Effect.succeed([chunk]))
    return this.waiter !== undefined
  }

  private giveBack(): void {
    if (this.memory !== undefined) free.push(this.memory)
    this.memory = undefined
  }

  end(reason: Socket.SocketErrorReason): void {
    this.error ??= failed(reason)
    const { waiter } = this
    this.waiter = undefined
    waiter?.(Effect.fail(this.error))
  }

  readonly pull = Effect.callback<Chunks, Socket.SocketError>((resume) => {
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
      (inlet) =>
        Effect.sync(() => {
          inlet.end(new Socket.SocketCloseError({ code: 1006 }))
          inlet.net.destroySoon()
        }),
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
      const inlet = new Inlet((onread) => Net.connect({ ...options, onread }))
      inlet.net.once("connect", () => resume(Effect.succeed(inlet)))
      inlet.net.once("error", (cause) =>
        resume(Effect.fail(failed(new Socket.SocketOpenError({ kind: "Unknown", cause })))))
      return Effect.sync(() =>
        void inlet.net.destroy()
      )
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
  const inlet = new Inlet((onread) => new Net.Socket({ ...options, onread }))
  return { net: inlet.net, socket: make(Effect.succeed(inlet)) }
}
