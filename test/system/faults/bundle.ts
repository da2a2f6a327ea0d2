/**
 * The command and the client as a file or two each, with what they compile to kept beside. From their source, processes
 * of so short a life would do little but look for modules and compile them. The bundler is Vitest's own.
 */
import { Effect } from "effect"
import { execFileSync } from "node:child_process"
import * as fs from "node:fs"
import * as path from "node:path"
import { rolldown } from "rolldown"

/** What processes are made of: files of the project, and their environment. */
export interface Bundle {
  readonly dlm: string
  readonly client: string
  readonly env: Record<string, string>
}

const project = path.join(import.meta.dirname, "../../..")
// Within the project, so that what is not bundled is found.
const cache = path.join(project, "node_modules/.cache")

/** Makes them, in a folder that is removed with the scope. */
export const bundle = Effect.gen(function*() {
  const folder = yield* Effect.acquireRelease(
    Effect.sync(() => {
      fs.mkdirSync(cache, { recursive: true })
      return fs.mkdtempSync(path.join(cache, "faults-"))
    }),
    (folder) => Effect.sync(() => fs.rmSync(folder, { recursive: true, force: true }))
  )
  const make = (name: string, source: string) =>
    Effect.promise(async () => {
      const bundled = await rolldown({
        input: { [name]: path.join(project, source) },
        platform: "node",
        external: [/^redis$/, /^undici$/]
      })
      await bundled.write({ dir: path.join(folder, name), format: "esm" })
      return path.join(folder, name, `${name}.js`)
    })
  const env = { NODE_COMPILE_CACHE: path.join(folder, "compiled") }
  const dlm = yield* make("dlm", "src/bin.ts")
  const client = yield* make("client", "test/system/faults/client.ts")
  // What is compiled is kept only by a process that ends by itself.
  yield* Effect.sync(() => execFileSync(process.execPath, [dlm, "serve", "--help"], { env }))
  const inProject = (file: string) => path.relative(project, file)
  return { dlm: inProject(dlm), client: inProject(client), env } satisfies Bundle
})
