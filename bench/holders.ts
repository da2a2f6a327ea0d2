/**
 * A name that many hold at a time, and looking at names while others work on them.
 */
import { fibers } from "./contestants.ts"
import { against, compete, type Row, serve } from "./harness.ts"

export const holders = async (): Promise<ReadonlyArray<Row>> => {
  const server = await serve()
  const { port } = server
  const rows = [
    against(
      await compete({ permits: port, mutexes: port }),
      ["permits", "one name with a limit"],
      ["mutexes", "a name for each"],
      `Lock + Unlock, ${fibers} fibers on one name with Limit ${fibers}, against ${fibers} names of one each`,
      ""
    ),
    against(
      await compete({ described: port, mutexes: port }),
      ["described", "watched"],
      ["mutexes", "not watched"],
      `Lock + Unlock of ${fibers} names, each watched by a blocking Describe, against none watched`,
      ""
    )
  ]
  await server.stop()
  return rows
}
