/**
 * How an error shows itself where its field `name` is that of a lock: by its tag, which stands nowhere else then.
 *
 * Consoles take the `name` of an error for its kind. All of this is on the prototype, so making an error costs nothing more.
 * What cannot be changed is the first line of `stack`, which V8 writes, and that of `Cause.pretty`, which is made of `name`.
 */
import * as Inspectable from "effect/Inspectable"
import * as Schema from "effect/Schema"

interface Tagged extends Error {
  readonly _tag: string
  toJSON(): Record<string, unknown>
}

type Inspect = (value: unknown, options: object) => string

const isTagged = (value: unknown): value is Tagged => value instanceof Error && "_tag" in value && "toJSON" in value

/** The fields of an error, in which its reason has no message: that of the error says it already. */
const fieldsOf = (error: Tagged, inspect: Inspect) => {
  const { _tag, reason, ...fields } = error.toJSON()
  if (reason === undefined) return fields
  if (!isTagged(reason)) return { ...fields, reason }
  const shownReason = (_: number, options: object) => textOf(reason._tag, fieldsOf(reason, inspect), options, inspect)
  return { ...fields, reason: { [Inspectable.NodeInspectSymbol]: shownReason } }
}

const textOf = (before: string, fields: object, options: object, inspect: Inspect): string =>
  Object.keys(fields).length === 0 ? before : `${before} ${inspect(fields, options)}`

const methods = {
  toString(this: Tagged): string {
    return `${this._tag}: ${this.message}`
  },
  // Node passes its own `inspect`, so that nothing of Node is imported for it.
  [Inspectable.NodeInspectSymbol](this: Tagged, depth: number | null, options: object, inspect: Inspect): string {
    return depth !== null && depth < 0
      ? `[${this._tag}]`
      : textOf(String(this), fieldsOf(this, inspect), options, inspect)
  }
}

type Make = (...args: ReadonlyArray<unknown>) => { readonly prototype: object }

const define = (identifier?: string): Make => (...args) => {
  const self = (Schema.TaggedError(identifier) as unknown as Make)(...args)
  for (const key of Reflect.ownKeys(methods)) {
    Object.defineProperty(self.prototype, key, {
      value: Reflect.get(methods, key),
      writable: true,
      configurable: true
    })
  }
  return self
}

/** `Schema.TaggedError` of errors that `String`, `console.log` and `util.inspect` show by their tag, message and fields. */
export const TaggedError = define as unknown as typeof Schema.TaggedError
