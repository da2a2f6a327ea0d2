/**
 * The files that a browser loads: the style, and the modules of `browser/`, as they are beside this file.
 */
import * as Effect from "effect/Effect"
import * as fs from "node:fs/promises"
import * as Module from "node:module"

/** The modules, by their names. `main` is where they begin. */
export const modules = [
  "Live",
  "Rows",
  "ServerClock",
  "dom",
  "listPage",
  "main",
  "namePage",
  "paths",
  "plots",
  "plotting",
  "remaining",
  "revoking",
  "status",
  "time",
  "visible"
] as const

const known: ReadonlySet<string> = new Set(modules)

// From the sources they are in TypeScript, and import each other by such names; in the package the build has taken that away.
const extension = import.meta.url.endsWith(".ts") ? ".ts" : ".js"

/** The text of a module in JavaScript; undefined where there is none of this name. */
export const moduleText = Effect.fnUntraced(function*(file: string): Effect.fn.Return<string | undefined> {
  const [, name] = /^(\w+)\.[jt]s$/.exec(file) ?? []
  if (name === undefined || !known.has(name)) return undefined
  const place = new URL(`./browser/${name}${extension}`, import.meta.url)
  const text = yield* Effect.orElseSucceed(Effect.tryPromise(() => fs.readFile(place, "utf8")), () => undefined)
  return text === undefined || extension === ".js" ? text : Module.stripTypeScriptTypes(text)
})
