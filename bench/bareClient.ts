/**
 * The least that a client of the protocol can cost: `node:net`, the same bytes, and no library.
 */
import { Wire } from "effect-dlm/protocol"
import { once } from "node:events"
import * as net from "node:net"

/** Sends one line on a connection of its own, and gives the line that comes back. */
export const exchange = (port: number, line: Uint8Array): Promise<Buffer> =>
  new Promise((resolve, reject) => {
    const socket = net.connect({ port, host: "127.0.0.1", noDelay: true })
    const chunks: Array<Buffer> = []
    socket.on("connect", () => socket.write(line))
    socket.on("data", (chunk) => {
      chunks.push(chunk)
      if (chunk[chunk.length - 1] === 0x0a) {
        socket.end()
        resolve(Buffer.concat(chunks))
      }
    })
    socket.on("error", reject)
  })

/** The line of a request, written and encoded anew as any client must. */
export const line = (request: object): Uint8Array => Wire.encodeLine(JSON.stringify(request))

/** Lock and unlock alternately on one connection, with the extension `Seq`. */
export const pingPong = (port: number) => async (times: number): Promise<void> => {
  const socket = net.connect({ port, host: "127.0.0.1", noDelay: true })
  await once(socket, "connect")
  let answered: (() => void) | undefined
  socket.on("data", (chunk) => {
    if (chunk[chunk.length - 1] === 0x0a) answered?.()
  })
  let seq = 0
  const ask = (Action: string) =>
    new Promise<void>((resolve) => {
      answered = resolve
      socket.write(
        line({ Seq: String(++seq), ID: "bench-owner-bench-owner", FileName: "bench-bare", Action, Expire: "30" })
      )
    })
  for (let i = 0; i < times; i++) {
    await ask("Lock")
    await ask("Unlock")
  }
  socket.end()
  await once(socket, "close")
}
