/**
 * The variables that programs read, as docs/COMMAND.md has them in the table of the command's.
 */
import { assert, describe, it } from "@effect/vitest"
import { ConfigProvider, Effect, Layer } from "effect"
import { Lease } from "effect-dlm"
import { NodeStore, NodeTalker } from "effect-dlm/node"
import { Identities } from "effect-dlm/server"
import * as fs from "node:fs"
import * as path from "node:path"
import { project } from "../../docs/blocks.ts"

/** The variables that a layer looks for, where no other is set. */
const readBy = (layer: Layer.Layer<never, unknown>) =>
  Effect.gen(function*() {
    const read = new Set<string>()
    const recording = ConfigProvider.make((asked) => {
      read.add(asked.join("_"))
      // A secret is looked for beside a name only.
      return Effect.succeed(asked.at(-1) === "DLM_IDENTITY_NAME" ? ConfigProvider.makeValue("reports") : undefined)
    })
    yield* Effect.exit(Effect.scoped(Layer.build(layer))).pipe(Effect.provide(ConfigProvider.layer(recording)))
    return Array.from(read).toSorted()
  })

const layers: Record<string, Layer.Layer<never, unknown>> = {
  "NodeTalker.layerConfig": NodeTalker.layerConfig as Layer.Layer<never, unknown>,
  "Lease.layerDefaultsConfig": Lease.layerDefaultsConfig as Layer.Layer<never, unknown>,
  "NodeStore.layerConfig": NodeStore.layerConfig as unknown as Layer.Layer<never, unknown>,
  "Identities.layerConfig": Identities.layerConfig as unknown as Layer.Layer<never, unknown>
}

const rows = fs.readFileSync(path.join(project, "docs/COMMAND.md"), "utf8")
  .split("| flag | variable | of |")[1]!.split("\n\n")[0]!.split("\n").slice(2)
  .map((row) => row.slice(1, -1).split("|").map((cell) => cell.trim()))

describe("the variables of programs", () => {
  for (const [name, layer] of Object.entries(layers)) {
    it.effect(`are those of ${name}`, () =>
      Effect.map(readBy(layer), (read) => {
        const listed = rows.filter((row) => row.at(-1) === `\`${name}\``)
          .flatMap(([, variables = ""]) => Array.from(variables.matchAll(/DLM_\w+/g), ([variable]) => variable))
        assert.deepStrictEqual(read, listed.toSorted())
      }))
  }
})
