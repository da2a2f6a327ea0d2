/**
 * For `node --import`: the package's own name means its sources, so that a program that imports it needs no build.
 */
import { registerHooks } from "node:module"

registerHooks({
  resolve: (specifier, context, next) => {
    const match = /^effect-dlm(\/\w+)?$/.exec(specifier)
    if (match === null) return next(specifier, context)
    return { url: new URL(`../../../src${match[1] ?? ""}/index.ts`, import.meta.url).href, shortCircuit: true }
  }
})
