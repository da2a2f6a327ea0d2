/**
 * How a process of the command collects its garbage.
 */
import * as v8 from "node:v8"

/**
 * Collects garbage sooner, or as V8 does by itself. That lets it grow to several times what is in use, and a flood of
 * connections makes much garbage. V8 reads both flags after each collection, so they can be set in a process that runs.
 *
 * Measured by test/system/hostile/flood.test.ts: half of the memory, for no more of the processor.
 */
export const collectEarly = (isEarly: boolean): void => {
  // The young generation keeps its size, and so refers to few buffers.
  v8.setFlagsFromString(`--semi-space-growth-factor=${isEarly ? 1 : 2}`)
  // By how many percent the old generation may grow before it is collected again; 0 leaves it to V8.
  v8.setFlagsFromString(`--heap-growing-percent=${isEarly ? 20 : 0}`)
}

/** More connections than that are a crowd: what each keeps counts more than what collecting costs. It is over at half as many. */
const crowd = 128

/**
 * Of a server whose store is elsewhere. Its requests wait for answers, and so outlive a small young generation: collecting early
 * would cost it three quarters of its processor. So it does that only while it has very many connections; it is told how many.
 */
export const ofGateway = (): (connections: number) => void => {
  let isCrowded = false
  collectEarly(false)
  return (connections) => {
    if (isCrowded ? connections > crowd / 2 : connections <= crowd) return
    isCrowded = !isCrowded
    collectEarly(isCrowded)
  }
}
