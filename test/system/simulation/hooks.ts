/**
 * For `node --import`: the package's own name means its sources, and the
 * fault that DLM_MUTATION names is put into its file as it is loaded.
 */
import { registerHooks } from "node:module"
import { mutate, mutations } from "./mutations.ts"

// Effect notes an asynchronous context for each fiber that waits, if it can. Nobody looks at them here.
process.getBuiltinModule = undefined as never

const src = new URL("../../../src", import.meta.url)
const name = process.env["DLM_MUTATION"]
const mutation = mutations.find((mutation) => mutation.name === name)
if (name !== undefined && mutation === undefined) throw new Error(`there is no mutation "${name}"`)
const mutated = mutation === undefined ? undefined : new URL(mutation.file, src).href

registerHooks({
  resolve: (specifier, context, next) => {
    const found = /^effect-dlm(?:\/(.*))?$/.exec(specifier)
    return found === null
      ? next(specifier, context)
      : { url: new URL(found[1] === undefined ? "index.ts" : `${found[1]}/index.ts`, src).href, shortCircuit: true }
  },
  load: (url, context, next) => {
    const loaded = next(url, context)
    if (url !== mutated) return loaded
    return { ...loaded, source: mutate(mutation!, new TextDecoder().decode(loaded.source as Uint8Array)) }
  }
})
