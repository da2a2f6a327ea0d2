/**
 * How a process of the command collects its garbage.
 */
import * as v8 from "node:v8"

/**
 * Collects garbage sooner. By default V8 lets it grow to several times what is in use, and a flood of connections makes
 * much garbage. V8 reads both flags after each collection, so they can be set in a process that runs.
 *
 * Measured by test/system/hostile/flood.test.ts: half of the memory, for no more of the processor.
 */
export const collectEarly = (): void => {
  // The young generation keeps its size, and so refers to few buffers.
  v8.setFlagsFromString("--semi-space-growth-factor=1")
  // By how many percent the old generation may grow before it is collected again.
  v8.setFlagsFromString("--heap-growing-percent=20")
}
