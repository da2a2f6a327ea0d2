/**
 * What it costs that a server keeps what has happened, and that somebody looks at its page.
 */
import { once } from "node:events"
import * as http from "node:http"
import { fibers } from "./contestants.ts"
import { against, compete, type Row, serve, type Server } from "./harness.ts"

/** Reads what a server tells its page, as a browser would, until it is called. */
const lookAt = async ({ page }: Server): Promise<() => void> => {
  const request = http.get(new URL("events?prefix=", page))
  const [response] = await once(request, "response") as [http.IncomingMessage]
  if (response.statusCode !== 200) throw new Error(`the page's events were answered ${response.statusCode}`)
  const told = once(response, "data")
  response.on("data", () => {})
  await told
  return () => void response.destroy()
}

const cpu = (
  measure: string,
  [on, off]: readonly [number | undefined, number | undefined]
): ReadonlyArray<Row> =>
  on === undefined || off === undefined ? [] : [{
    measure,
    result: `${on.toFixed(2)} µs against ${off.toFixed(2)} µs`,
    ratio: on / off,
    goal: "≤ 1.05"
  }]

export const history = async (): Promise<ReadonlyArray<Row>> => {
  const [keeps, keepsNone, looked] = [await serve(), await serve("--history", "0"), await serve("--http", "0")]
  const lookAway = await lookAt(looked)
  const measured = await compete({ frames: keeps, unnoted: keepsNone, watched: looked })
  lookAway()
  await Promise.all([keeps.stop(), keepsNone.stop(), looked.stop()])
  const { frames, unnoted, watched } = measured
  const pair = `lock + unlock, ${fibers} fibers of one process`
  return [
    against(
      measured,
      ["frames", "history on"],
      ["unnoted", "history off"],
      `${pair}, by frames, the history of the server on against off`,
      "≥ 0.95"
    ),
    ...cpu(`${pair}, by frames: CPU of the server, the history on against off`, [frames.serverCpu, unnoted.serverCpu]),
    against(
      measured,
      ["watched", "a page watches"],
      ["frames", "none does"],
      `${pair}, by frames, a page of all names watching against none`,
      "≥ 0.95"
    ),
    ...cpu(`${pair}, by frames: CPU of the server, a page watching against none`, [
      watched.serverCpu,
      frames.serverCpu
    ]),
    against(
      await compete({ noted: "", memory: "" }),
      ["noted", "history on"],
      ["memory", "history off"],
      `${pair}, in that process, the history on against off`,
      "≥ 0.95"
    )
  ]
}
