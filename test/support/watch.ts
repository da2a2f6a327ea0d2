/**
 * Watches from outside what a program does to its Maps.
 */
import { Effect } from "effect"

export interface Watched {
  /** The Maps that hold a watched key. */
  readonly maps: ReadonlySet<ReadonlyMap<unknown, unknown>>
  /** How often such a Map was iterated. */
  iterations: number
  /** How often a field of an object kept under a watched key was read or written. */
  looks: number
}

/**
 * Watches the Maps that hold keys of the given prefix, as long as the scope
 * lives. It finds them when they are written to, so it needs to know nothing
 * of the program.
 */
export const watchMaps = (prefix: string) =>
  Effect.map(
    Effect.acquireRelease(
      Effect.sync(() => {
        const maps = new Set<Map<unknown, unknown>>()
        const watched: Watched = { maps, iterations: 0, looks: 0 }
        const proto: any = Map.prototype
        const iterating = ["forEach", "values", "keys", "entries", Symbol.iterator] as const
        const originals = new Map<string | symbol, any>()
        for (const name of ["set", ...iterating]) originals.set(name, proto[name])
        const set = proto.set
        for (const name of iterating) {
          const original = proto[name]
          proto[name] = function(...args: Array<unknown>) {
            if (maps.has(this)) watched.iterations++
            return original.apply(this, args)
          }
        }
        proto.set = function(key: unknown, value: any) {
          if (typeof key === "string" && key.startsWith(prefix)) {
            maps.add(this)
            for (const field of Object.keys(value)) {
              let current = value[field]
              Object.defineProperty(value, field, {
                get: () => {
                  watched.looks++
                  return current
                },
                set: (next) => {
                  watched.looks++
                  current = next
                }
              })
            }
          }
          return set.call(this, key, value)
        }
        return { watched, restore: () => originals.forEach((original, name) => (proto[name] = original)) }
      }),
      ({ restore }) => Effect.sync(restore)
    ),
    ({ watched }) => watched
  )
