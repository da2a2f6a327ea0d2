#!/usr/bin/env node
import { collectEarly } from "./cli/garbage.ts"

// Before all else is loaded, since the young generation grows by that.
collectEarly()
void import("./cli/start.ts").then(({ start }) => start())
