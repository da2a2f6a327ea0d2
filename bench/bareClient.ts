/**
 * What a client of the protocol costs at the least: `node:net`, the same bytes, and no library.
 */
import { Wire } from "effect-dlm"
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
