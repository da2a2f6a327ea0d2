/**
 * A server that answers one line and closes the connection, as the reference does. It costs as little as possible, so that
 * the client is what is measured. Prints where it listens.
 */
import { Protocol, Wire } from "effect-dlm/protocol"
import * as net from "node:net"

const answers: Record<string, (id: string) => Protocol.Response> = {
  Lock: (ID) => ({ Status: "Locked", ID }),
  Unlock: (ID) => ({ Status: "Unlocked", ID }),
  Version: () => ({ Status: "Version", ID: Protocol.serverName })
}

const server = net.createServer({ noDelay: true }, (socket) => {
  const framer = new Wire.Framer(64 * 1024)
  socket.on("error", () => socket.destroy())
  socket.on("data", (chunk) => {
    const line = framer.push(chunk)[0]
    if (line === undefined) return
    const request = Wire.decodeLine(line)
    if (request._tag === "Failure") return socket.destroy()
    const { Action, ID } = JSON.parse(request.success)
    socket.end(Protocol.encodeResponse(answers[Action]!(ID)))
  })
})

server.listen(0, "127.0.0.1", () => console.log(`listening on 127.0.0.1:${(server.address() as net.AddressInfo).port}`))
