/**
 * The client against a bare `node:net` client, one request per connection, and in process.
 */
import { against, compete, type Row, serveAsReference } from "./harness.ts"

const bare = ["bareExchange", "bare node:net"] as const

export const connections = async (): Promise<ReadonlyArray<Row>> => {
  const server = await serveAsReference()
  const measured = await compete({ oneFiber: server.port, bareExchange: server.port, inProcess: "" })
  await server.stop()
  return [
    against(
      measured,
      ["oneFiber", "effect-dlm"],
      bare,
      "lock + unlock, one request per connection: the client against bare node:net",
      "≥ 0.8"
    ),
    against(
      measured,
      ["inProcess", "effect-dlm"],
      bare,
      "lock + unlock with the server in the same process, against bare node:net with one elsewhere",
      ""
    )
  ]
}
