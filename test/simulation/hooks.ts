/**
 * For `node --import`: the package's own name means its sources, one of which
 * may have a fault put into it, named by DLM_MUTATION.
 */
import { registerHooks } from "node:module"

const src = new URL("../../src/", import.meta.url)

registerHooks({
  resolve: (specifier, context, next) => {
    const found = /^effect-dlm(?:\/(.*))?$/.exec(specifier)
    return found === null
      ? next(specifier, context)
      : { url: new URL(found[1] === undefined ? "index.ts" : `${found[1]}/index.ts`, src).href, shortCircuit: true }
  }
})
