/**
 * Contenders that want one name, each to hold it for a millisecond, again and again.
 */
import { setTimeout } from "node:timers/promises"

const seconds = 5

/** How long a contender holds a name, in milliseconds. */
export const holdMillis = 1

/** What a contender does while it holds a name. */
export const pause = (): Promise<void> => setTimeout(holdMillis)

/** One who wants a name. */
export interface Contender {
  readonly hold: (body: () => Promise<void>) => Promise<unknown>
  readonly stop: () => Promise<unknown>
}

/** What contenders came to. */
export interface Outcome {
  readonly handOvers: number
  readonly p50: number
  readonly p99: number
  readonly fairness: number
}

/** Lets so many contend, and measures how often one gets the name, and how long it waits. Times are in milliseconds. */
export const contend = async (many: number, make: (i: number) => Promise<Contender>): Promise<Outcome> => {
  const all = await Promise.all(Array.from({ length: many }, (_, i) => make(i)))
  const waits: Array<number> = []
  const holds = all.map(() => 0)
  const from = performance.now() + 1000
  const until = from + seconds * 1000
  await Promise.all(all.map(async ({ hold }, i) => {
    while (performance.now() < until) {
      const asked = performance.now()
      await hold(async () => {
        const got = performance.now()
        // The first second does not count: code is compiled, and connections are opened in it.
        if (got >= from && got < until) {
          waits.push(got - asked)
          holds[i]!++
        }
        await pause()
      })
    }
  }))
  await Promise.all(all.map(({ stop }) => stop()))
  waits.sort((a, b) => a - b)
  const at = (share: number) => waits[Math.min(waits.length - 1, Math.floor(waits.length * share))] ?? NaN
  const sum = holds.reduce((total, count) => total + count, 0)
  return {
    handOvers: sum / seconds,
    p50: at(0.5),
    p99: at(0.99),
    // Jain, Chiu, Hawe 1984: 1 where all get the same, 1/n where one gets all.
    fairness: sum ** 2 / (many * holds.reduce((total, count) => total + count ** 2, 0))
  }
}

/** An outcome as text. */
export const described = ({ fairness, handOvers, p50, p99 }: Outcome): string =>
  `${Math.round(handOvers)} hand-overs/s, wait p50 ${p50.toFixed(1)} ms, p99 ${p99.toFixed(1)} ms, index ${
    fairness.toFixed(4)
  }`
