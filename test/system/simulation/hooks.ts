/**
 * For `node --import`: the package's own name means its sources, and the
 * fault that DLM_MUTATION names is put into its file as it is loaded.
 */
import { registerHooks } from "node:module"
import { pathToFileURL } from "node:url"

const name = process.env["DLM_MUTATION"]
const mutated = name === undefined ? undefined : await import("./mutations.ts").then(async ({ mutate, mutations }) => {
  const all = [...mutations, ...(await import("../../programs/mutations.ts")).mutations]
  const mutation = all.find((mutation) => mutation.name === name)
  if (mutation === undefined) throw new Error(`there is no mutation "${name}"`)
  const { file, source } = mutate(mutation)
  return { url: pathToFileURL(file).href, source }
})

// Effect notes an asynchronous context for each fiber that waits, if it can. They are not looked at here.
process.getBuiltinModule = undefined as never

const src = new URL("../../../src/", import.meta.url)

registerHooks({
  resolve: (specifier, context, next) => {
    const found = /^effect-dlm(?:\/(.*))?$/.exec(specifier)
    return found === null
      ? next(specifier, context)
      : { url: new URL(found[1] === undefined ? "index.ts" : `${found[1]}/index.ts`, src).href, shortCircuit: true }
  },
  load: (url, context, next) => {
    const loaded = next(url, context)
    return url === mutated?.url ? { ...loaded, source: mutated.source } : loaded
  }
})
