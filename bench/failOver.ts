/**
 * How long nobody leads: after the leader's process was killed, and after it has resigned.
 */
import { type ChildProcess, fork } from "node:child_process"
import { once } from "node:events"
import * as net from "node:net"
import * as path from "node:path"
import { type Row, serve } from "./harness.ts"

const times = 10
const ttl = 3000
/** By how much bytes come later in each direction, in milliseconds, so that a round trip is longer than what is done in it. */
const delay = 20

/** Passes bytes on to a port, each later by `delay`. */
const slowly = async (port: number): Promise<net.Server> => {
  const pipe = (from: net.Socket, to: net.Socket) => {
    from.setNoDelay(true)
    from.on("data", (bytes) => void setTimeout(() => to.write(bytes), delay))
    from.on("close", () => void setTimeout(() => to.destroy(), delay))
    from.on("error", () => {})
  }
  const server = net.createServer((client) => {
    const upstream = net.connect(port, "127.0.0.1")
    pipe(client, upstream)
    pipe(upstream, client)
  }).listen(0, "127.0.0.1")
  await once(server, "listening")
  return server
}

interface Told {
  readonly leads?: number
  readonly resigns?: number
}

const startCandidate = (port: number): ChildProcess =>
  fork(path.join(import.meta.dirname, "candidate.ts"), [String(port), String(ttl)])

const told = async (candidate: ChildProcess): Promise<Told> => (await once(candidate, "message"))[0] as Told

/** When the candidate leads. */
const leads = async (candidate: ChildProcess): Promise<number> => {
  for (;;) {
    const { leads } = await told(candidate)
    if (leads !== undefined) return leads
  }
}

const killed = async (port: number): Promise<ReadonlyArray<number>> => {
  const gaps: Array<number> = []
  let leader = startCandidate(port)
  await leads(leader)
  for (let i = 0; i < times; i++) {
    const next = startCandidate(port)
    // By then it waits, and the lease of the leader has just been renewed, or is about to be.
    await new Promise((resolve) => setTimeout(resolve, 1000 + 97 * i))
    const leading = leads(next)
    const at = performance.timeOrigin + performance.now()
    leader.kill("SIGKILL")
    gaps.push(await leading - at)
    leader = next
  }
  leader.kill("SIGKILL")
  return gaps
}

const resigned = async (port: number): Promise<ReadonlyArray<number>> => {
  const gaps: Array<number> = []
  const candidates = [startCandidate(port)]
  await leads(candidates[0]!)
  candidates.push(startCandidate(port))
  await new Promise((resolve) => setTimeout(resolve, 1000))
  for (let i = 0; i < times; i++) {
    const [leader, next] = [candidates[i % 2]!, candidates[(i + 1) % 2]!]
    const leading = leads(next)
    const resigning = told(leader)
    leader.send("resign")
    const { resigns } = await resigning
    gaps.push(await leading - resigns!)
    // The one that resigned campaigns again, and waits behind the other.
    await new Promise((resolve) => setTimeout(resolve, 4 * delay))
  }
  for (const candidate of candidates) candidate.kill("SIGKILL")
  return gaps
}

const rowOf = (measure: string, gaps: ReadonlyArray<number>, bound: number): Row => {
  const sorted = gaps.toSorted((a, b) => a - b)
  const [median, most] = [sorted[sorted.length >> 1]!, sorted.at(-1)!]
  return {
    measure,
    result: `${times} times: median ${Math.round(median)} ms, most ${Math.round(most)} ms, bound ${bound} ms`,
    ratio: most / bound,
    goal: "≤ 1"
  }
}

export const failOver = async (): Promise<ReadonlyArray<Row>> => {
  const server = await serve()
  const slow = await slowly(server.port)
  const rows = [
    rowOf(
      `nobody leads after kill -9 of the leader, ttl ${ttl / 1000} s: the most against ttl + 1 s`,
      await killed(server.port),
      ttl + 1000
    ),
    rowOf(
      `nobody leads after a resignation, round trips of ${2 * delay} ms: the most against two of them`,
      await resigned((slow.address() as net.AddressInfo).port),
      4 * delay
    )
  ]
  slow.close()
  await server.stop()
  return rows
}
