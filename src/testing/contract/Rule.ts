/**
 * What the laws of a store are made of.
 */
import * as Data from "effect/Data"
import * as Effect from "effect/Effect"
import type * as Scope from "effect/Scope"
import type { Asker, Change, Decision, Entry, Mutex, Outcome, Store } from "../../store/Store.ts"

/** A store broke a law. */
export class Violation extends Data.TaggedError("ContractViolation")<{ readonly problem: string }> {
  override get message(): string {
    return this.problem
  }
}

/** A store that is open. */
export type Instance = Store["Service"]

/** A time to live that no check outlives, in milliseconds. */
export const long = 600_000

/** The longest label that a store keeps: one of 256 bytes, with the span of its holder behind it. */
export const longestLabel = `${"x".repeat(256)}\u0001${"0".repeat(32)}-${"1".repeat(16)}`
/** Texts that a store may stumble over. */
export const texts = [
  "",
  " ",
  "a b\\c\"d'e`f",
  "\0\u0001\n\r\t",
  "ключ 🔑",
  "\ud800 alone",
  "__proto__",
  "%_*?[a]{b}$1:/",
  "x".repeat(512)
]

/** The change that is none. */
export const keep: Change = { _tag: "Keep" }

/** An entry, for the message of a violation. */
export const show = (entry: Entry | undefined): string => {
  const text = JSON.stringify(entry) ?? "nothing"
  return text.length > 200 ? `${text.slice(0, 200)}… (${text.length} characters)` : text
}

/** Fails with a problem unless something holds. */
export const expect = (holds: boolean, problem: string): Effect.Effect<void, Violation> =>
  holds ? Effect.void : Effect.fail(new Violation({ problem }))

/** What is there. */
export const read = (store: Instance, name: string, asker?: Asker) =>
  store.modify(name, (entry): Decision<Entry | undefined> => ({ answer: entry, change: keep }), asker)

/** Has one owner have a name, whatever is there, and says what was. */
export const write = (store: Instance, name: string, entry: Mutex, ttlMillis = long) =>
  store.modify(name, (found): Decision<Entry | undefined> => ({
    answer: found,
    change: { _tag: "Write", entry, ttlMillis }
  }))

/** Frees a name, and says what was there. */
export const remove = (store: Instance, name: string, asker?: Asker) =>
  store.modify(
    name,
    (found): Decision<Entry | undefined> => ({ answer: found, change: { _tag: "Remove" } }),
    asker
  )

/** As the LockServer does: locks a name that is free, or is this owner's already. */
export const lock = (store: Instance, name: string, owner: string, ttlMillis = long, waits = false) =>
  store.modify(name, (found): Decision<boolean> =>
    found === undefined || found.owner === owner
      ? {
        answer: true,
        change: { _tag: "Write", entry: { owner, identity: undefined, data: found?.data }, ttlMillis }
      }
      : { answer: false, change: keep }, { owner, identity: undefined, waits })

/** Whether an outcome says that a name is free. */
export const isFree = (outcome: Outcome<unknown>): boolean =>
  outcome.fence === undefined && outcome.revision === undefined && outcome.expiresIn === 0

/** An entry of one owner. */
export const entryOf = (owner: string, data?: string, identity?: string): Mutex => ({ owner, identity, data })

/** What a check may use beside its store and a name that nothing else uses. */
export interface Given {
  /** The shortest time to live that the store keeps, and how much later an entry may end, in milliseconds. */
  readonly ttl: number
  readonly late: number
  /** Whether the store must tell waiters of what another instance frees. */
  readonly tells: boolean
  /** Sleeps until an entry that was written with `ttl` must have ended. */
  readonly outlive: Effect.Effect<void>
  /** Another instance of the store. */
  readonly another: Effect.Effect<Instance, unknown, Scope.Scope>
}

/** Fails where a store does not do as it must. */
export type Check = (store: Instance, name: string, given: Given) => Effect.Effect<void, unknown, Scope.Scope>

/** A law, for any store. */
export interface Rule {
  readonly name: string
  readonly check: Check
}

/** Makes a law. */
export const law = (name: string, check: Check): Rule => ({ name, check })
