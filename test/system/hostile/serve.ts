/**
 * The server of `server.ts` in a process that collects its garbage as `dlm serve` does.
 */
import { collectEarly } from "../../../src/cli/garbage.ts"

collectEarly(true)
await import("./server.ts")
