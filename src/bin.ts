#!/usr/bin/env node
import { collectEarly } from "./cli/garbage.ts"

// Before all else is loaded, since the young generation grows by that.
collectEarly()
await import("./cli/start.ts")
