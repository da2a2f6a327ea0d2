/**
 * What it costs that a server keeps what has happened.
 */
import { fibers } from "./contestants.ts"
import { against, compete, type Row, serve } from "./harness.ts"

export const history = async (): Promise<ReadonlyArray<Row>> => {
  const [keeps, keepsNone] = [await serve(), await serve("--history", "0")]
  const measured = await compete({ frames: keeps, unnoted: keepsNone })
  await Promise.all([keeps.stop(), keepsNone.stop()])
  const [on, off] = [measured.frames.serverCpu, measured.unnoted.serverCpu]
  const pair = `lock + unlock, ${fibers} fibers of one process`
  return [
    against(
      measured,
      ["frames", "history on"],
      ["unnoted", "history off"],
      `${pair}, by frames, the history of the server on against off`,
      "≥ 0.95"
    ),
    ...(on === undefined || off === undefined ? [] : [{
      measure: `${pair}, by frames: CPU of the server, the history on against off`,
      result: `${on.toFixed(2)} µs against ${off.toFixed(2)} µs`,
      ratio: on / off,
      goal: "≤ 1.05"
    }]),
    against(
      await compete({ noted: "", memory: "" }),
      ["noted", "history on"],
      ["memory", "history off"],
      `${pair}, in that process, the history on against off`,
      "≥ 0.95"
    )
  ]
}
