/**
 * For `node --import`: the package's own name means its sources, so that a program that imports it needs no build.
 */
import { registerHooks } from "node:module"

const sources: Record<string, string> = {
  "effect-dlm": "../../src/index.ts",
  "effect-dlm/node": "../../src/node/index.ts",
  "effect-dlm/vault": "../../src/vault/index.ts",
  "effect-dlm/testing": "../../src/testing/index.ts"
}

registerHooks({
  resolve: (specifier, context, next) => {
    const source = sources[specifier]
    return source === undefined
      ? next(specifier, context)
      : { url: new URL(source, import.meta.url).href, shortCircuit: true }
  }
})
