/**
 * What a store keeps under a name, what is decided about it, and what comes of that.
 */
import type * as Effect from "effect/Effect"
import type { StoreError } from "../StoreError.ts"

/** What is kept under a name: who holds it, and perhaps some data. */
export interface Entry {
  /** The `ID` of the owner. */
  readonly owner: string
  /** The name of the identity under which it was made, if any: without it, it cannot be touched. */
  readonly identity: string | undefined
  /** The data, if some was put. */
  readonly data: string | undefined
}

/** What is public of a tenure. It says nothing of the owner. */
export interface Holder {
  /** What the holder says of itself, if anything. */
  readonly label: string | undefined
  /** When the tenure began, by the wall clock of the store, or of the server where it has none: in ms since 1970. */
  readonly since: number
}

/** An entry is to be this from now on, and to end after that time. */
export interface Write {
  readonly _tag: "Write"
  readonly entry: Entry
  readonly ttlMillis: number
  /** Whether it begins a tenure where there is an entry, as one of a free name does. */
  readonly begins?: boolean
  /** What its holder says of itself. Without it the label of the tenure stays, and a tenure that begins has none. */
  readonly label?: string | undefined
}

/**
 * What becomes of an entry. A `Write` onto a free name begins a new tenure; onto an entry it goes on with its own, unless
 * it `begins` another: then its fence is a new one, as on a free name.
 */
export type Change =
  | { readonly _tag: "Keep" }
  | { readonly _tag: "Remove" }
  | Write

/** What a pure transition decides: the answer, and the change that makes it true. */
export interface Decision<A> {
  readonly answer: A
  readonly change: Change
}

/** A decision that was carried out, and what it left behind. */
export interface Outcome<A> {
  readonly answer: A
  /** The fence of the tenure: the revision with which it began. None where the name is free. */
  readonly fence: bigint | undefined
  /** Of the last `Write`, and greater than that of any before it. None where the name is free. */
  readonly revision: bigint | undefined
  /**
   * In how many milliseconds the entry ends, if nobody touches it: `Infinity` where the store cannot tell, and 0 where
   * the name is free.
   */
  readonly expiresIn: number
  /**
   * Who holds the name. A decision is made on guesses too, so it is not told; it is known once the decision was made on
   * what is there, and keeps it. After any other it may be missing, as it is of a tenure that a version without labels
   * began.
   */
  readonly holder?: Holder | undefined
  /** Whether somebody is known to have waited at another server for the name that this freed. */
  readonly waited?: boolean
}

/** Who asks. A store across a network guesses by it what it will find, and so saves a round trip. */
export interface Asker {
  readonly owner: string
  readonly identity: string | undefined
  /** Whether it waits for the name: then its release is to be told to `Sharing.freed`. */
  readonly waits: boolean
  /** The only tenure that it means, where it means one: what the store guesses has this fence then. */
  readonly fence?: bigint | undefined
}

/**
 * Decides what becomes of an entry. It is told the entry's revision where it is no guess, and the fence of its tenure
 * where it is none, or where the asker has named that fence.
 */
export type Decide<A> = (entry: Entry | undefined, revision?: bigint, fence?: bigint) => Decision<A>

/** One change of one name: see `Store`. */
export type Modify = <A>(
  name: string,
  decide: Decide<A>,
  asker?: Asker
) => Effect.Effect<Outcome<A>, StoreError>

/** The tenure of a name, while it lasts. */
export interface Tenure {
  /** The revision with which it began. */
  readonly fence: bigint
  /** That of its last `Write`. */
  readonly revision: bigint
  /** In how many milliseconds it ends if nobody touches it; `Infinity` where that is not known. */
  readonly expiresIn: number
  /** Whether it began over the entry of another. */
  readonly inherited?: boolean
  /** Who has it, where that is known. */
  readonly holder?: Holder | undefined
}

/** Who has the tenure that a write leaves behind. `before` is the tenure that it found, and `now` tells the wall clock. */
export const holderAfter = (
  { begins, label }: Write,
  before: Pick<Tenure, "holder"> | undefined,
  now: () => number
): Holder | undefined => {
  if (before === undefined || begins === true) return { label, since: now() }
  const { holder } = before
  return holder === undefined || label === undefined || label === holder.label
    ? holder
    : { label, since: holder.since }
}

/** What a decision comes to, by the tenure that it left behind, if any. */
export const outcomeOf = <A>(answer: A, tenure: Tenure | undefined, waited = false): Outcome<A> => ({
  answer,
  fence: tenure?.fence,
  revision: tenure?.revision,
  expiresIn: tenure?.expiresIn ?? 0,
  holder: tenure?.holder,
  waited
})
