/**
 * A client on plain `node:net`, that knows nothing of ours but the encoding, and a server for it to talk to.
 */
import { Context, Effect, Layer, Result } from "effect"
import { NodeLockServer } from "effect-dlm/node"
import { Wire } from "effect-dlm/protocol"
import { Identities, Limits, LockServer, Store } from "effect-dlm/server"
import { SocketServer } from "effect/socket"
import * as Net from "node:net"

export { line } from "./line.ts"

/** A connection, destroyed with the scope. Nobody reads it yet. */
export const connect = (port: number, localAddress?: string) =>
  Effect.acquireRelease(
    Effect.callback<Net.Socket, Error>((resume) => {
      const socket = Net.connect({ host: "127.0.0.1", port, ...(localAddress === undefined ? {} : { localAddress }) })
      socket.once("connect", () => resume(Effect.succeed(socket)))
      socket.on("error", (error) => resume(Effect.fail(error)))
    }),
    (socket) => Effect.sync(() => socket.destroy())
  )

/** Reads a connection until it is closed, in whatever way. */
export const readToEnd = (socket: Net.Socket) =>
  Effect.callback<{ readonly text: string; readonly error: Error | undefined }>((resume) => {
    const chunks: Array<Buffer> = []
    let failed: Error | undefined
    socket.on("data", (chunk) => chunks.push(chunk))
    socket.on("error", (error) => {
      failed = error
    })
    socket.on("close", () => resume(Effect.succeed({ text: Buffer.concat(chunks).toString("latin1"), error: failed })))
  })

/** Sends bytes on a connection of their own, and reads until the server closes it. */
export const exchange = (port: number, bytes: Uint8Array | string) =>
  Effect.gen(function*() {
    const socket = yield* connect(port)
    socket.write(bytes)
    const { error, text } = yield* readToEnd(socket)
    return error === undefined ? text : yield* Effect.fail(error)
  }).pipe(Effect.scoped)

/** What a line of the wire says. Fails where it is not one whole line of JSON. */
export const parse = (text: string): Effect.Effect<unknown, Error> =>
  Effect.try({
    try: () => {
      const [encoded, ...rest] = text.split("\n")
      if (rest.length !== 1 || rest[0] !== "") throw new Error(`not one line: ${JSON.stringify(text)}`)
      return JSON.parse(Result.getOrThrow(Wire.decodeLine(Buffer.from(encoded ?? "", "latin1"))))
    },
    catch: (cause) => new Error(`no answer: ${JSON.stringify(text)}`, { cause })
  })

/** Sends a line, and gives its answer. */
export const ask = (port: number, bytes: Uint8Array | string) => Effect.flatMap(exchange(port, bytes), parse)

/** A server on a free port, and its LockServer, as long as the scope lives. */
export const serve = Effect.fnUntraced(function*<E = never, R = never>(
  options: {
    readonly limits?: Partial<Limits.Limits>
    readonly identities?: Layer.Layer<Identities.Identities, E, R>
  } = {}
) {
  const identities: Layer.Layer<Identities.Identities, E, R> = options.identities ?? Identities.layerNone
  const context = yield* Layer.build(
    NodeLockServer.layer({ port: 0 }).pipe(
      Layer.provideMerge(LockServer.layer),
      Layer.provide([Store.layerMemory, identities]),
      Layer.provide(Limits.layer(options.limits ?? {}))
    )
  )
  const { address } = Context.get(context, SocketServer.SocketServer)
  if (address._tag === "UnixPathAddress") return yield* Effect.die("no port")
  return { port: address.port, lockServer: Context.get(context, LockServer.LockServer) }
})
