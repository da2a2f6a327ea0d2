/**
 * `npm run pictures`: draws the pictures of the docs, two of them from simulated runs.
 */
import * as fs from "node:fs"
import * as path from "node:path"
import { fence } from "./pictures/fence.ts"
import { lease } from "./pictures/lease.ts"
import { stores } from "./pictures/stores.ts"
import { topology } from "./pictures/topology.ts"

/** Where they are. */
export const folder = path.join(import.meta.dirname, "..", "docs")

/** Each picture, by the name of its file. */
export const pictures = {
  "topology.svg": async () => topology(),
  "lease.svg": lease,
  "fence.svg": fence,
  "stores.svg": async () => stores()
}

if (import.meta.main) {
  for (const [file, draw] of Object.entries(pictures)) {
    fs.writeFileSync(path.join(folder, file), await draw())
    console.log(`docs/${file} is written`)
  }
}
