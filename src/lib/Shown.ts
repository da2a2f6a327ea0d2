/**
 * What shows no more of itself than it says: in logs, errors and spans, and on the console.
 */
import * as Inspectable from "effect/Inspectable"

/** Shows itself by `toJSON` alone, whoever looks: Effect's formatter heeds `toString`, and Node a symbol. */
export abstract class Shown {
  abstract toJSON(): unknown

  toString(): string {
    return JSON.stringify(this.toJSON())
  }

  [Inspectable.NodeInspectSymbol](): unknown {
    return this.toJSON()
  }
}
