/**
 * The client against a bare `node:net` client, one request per connection, and in process.
 */
import { against, compete, type Row, serveAsReference } from "./harness.ts"

export const connections = async (): Promise<ReadonlyArray<Row>> => {
  const server = await serveAsReference()
  const measured = await compete({ oneFiber: server.port, bareExchange: server.port, inProcess: "" })
  await server.stop()
  return [
    against(
      measured,
      "oneFiber",
      "bareExchange",
      "lock + unlock, one request per connection: the client against bare node:net",
      "≥ 0.95"
    ),
    against(measured, "inProcess", "bareExchange", "lock + unlock in process, against bare node:net", "")
  ]
}
