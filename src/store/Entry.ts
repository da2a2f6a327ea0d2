/**
 * What a store keeps under a name, what is decided about it, and what comes of that.
 */
import * as Effect from "effect/Effect"
import { StoreError } from "../StoreError.ts"

/** A name that one owner has, perhaps with some data. */
export interface Mutex {
  /** The `ID` of the owner. */
  readonly owner: string
  /** The name of the identity under which it was made, if any: without it, it cannot be touched. */
  readonly identity: string | undefined
  /** The data, if some was put. */
  readonly data: string | undefined
  readonly limit?: undefined
}

/** What the weights of a name's holders may be together; or `shared`, of readers without limit, and of one writer. */
export type Limit = number | "shared"

/** How much of a limit one takes. Of a shared name a reader takes 1, and a writer `all`. */
export type Weight = number | "all"

/** Of a name with a limit, one of its holders. */
export interface Permit extends Holder {
  readonly owner: string
  readonly identity: string | undefined
  readonly weight: Weight
  /** Of its own tenure. */
  readonly fence: bigint
  /** Whether its owner was told of it since its tenure began. */
  readonly isRenewed?: boolean
  /** In how many milliseconds it ends, if nobody touches it; `Infinity` where the store cannot tell. */
  readonly endsIn: number
}

/** The first of those who wait at a server, and do not fit: while this is there nobody else is let in, at any server. */
export interface Next {
  readonly owner: string
  readonly identity: string | undefined
  readonly weight: Weight
  readonly endsIn: number
}

/** A name with a limit, and all who hold it. There is no data with it. */
export interface Permits {
  readonly limit: Limit
  /** Those who live, by the clock of the store, in the order in which their tenures began. */
  readonly holders: ReadonlyArray<Permit>
  readonly next: Next | undefined
  readonly owner?: undefined
  readonly identity?: undefined
  readonly data?: undefined
}

/** What is kept under a name: who holds it, alone or with others. */
export type Entry = Mutex | Permits

/** What is public of a tenure. It says nothing of the owner. */
export interface Holder {
  /**
   * What the holder says of itself, if anything. The LockServer has it followed by a control character and the span of the
   * holder, where that was told: text of up to 306 bytes, which a store keeps as it is.
   */
  readonly label: string | undefined
  /** When the tenure began, by the wall clock of the store, or of the server where it has none: in ms since 1970. */
  readonly since: number
  /** Of an outcome about several holders: how many they are. No store keeps it. */
  readonly held?: number
}

/** One owner is to have the name from now on, until that time has passed. */
export interface Write {
  readonly _tag: "Write"
  readonly entry: Mutex
  readonly ttlMillis: number
  /** Whether it begins a tenure where there is an entry, as one of a free name does. */
  readonly begins?: boolean
  /** What its holder says of itself. Without it the label of the tenure stays, and a tenure that begins has none. */
  readonly label?: string | undefined
  /** Whether a tenure that goes on ends when it would have ended, whatever `ttlMillis` says. One that begins has that. */
  readonly keepsEnd?: boolean
}

/** A holder that a name is to have: without a fence its tenure begins, and the store gives it one above all before. */
export interface Admitted extends Omit<Permit, "fence" | "since"> {
  readonly fence: bigint | undefined
  /** Without it the store says since when it is. */
  readonly since: number | undefined
  /** Whether it is the one with its fence that was found, and ends when that would have ended, whatever `endsIn` says. */
  readonly keepsEnd?: boolean
}

/**
 * A name is to have these holders from now on. One that is given as it was found keeps its end; any other, one at the
 * most, ends after `endsIn`, unless it `keepsEnd`. Where no holder and no `next` is left, the name is free.
 */
export interface Share {
  readonly _tag: "Share"
  readonly limit: Limit
  readonly holders: ReadonlyArray<Permit | Admitted>
  readonly next: Next | undefined
}

/**
 * What becomes of an entry. A `Write` onto a free name begins a new tenure; onto an entry it goes on with its own, unless
 * it `begins` another: then its fence is a new one, as on a free name.
 */
export type Change =
  | { readonly _tag: "Keep" }
  | { readonly _tag: "Remove" }
  | Write
  | Share

/** What a pure transition decides: the answer, and the change that makes it true. */
export interface Decision<A> {
  readonly answer: A
  readonly change: Change
}

/** A decision that was carried out, and what it left behind. */
export interface Outcome<A> {
  readonly answer: A
  /**
   * The fence of the tenure: the revision with which it began. None where the name is free. Of several holders, it is
   * about the one that was changed, and else about the one that ends first; and so are `expiresIn` and `holder`.
   */
  readonly fence: bigint | undefined
  /** Of the last change, and greater than that of any before it. None where the name is free. */
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
  /** Whether it asks for a name with a limit: then it most likely finds it free, or with others. */
  readonly shares?: boolean
}

/**
 * Decides what becomes of an entry. It is told the entry's revision where it is no guess, and the fence of its tenure
 * where it is none, or where the asker has named that fence.
 */
export type Decide<A> = (entry: Entry | undefined, revision?: bigint, fence?: bigint) => Decision<A>

/** Only looks at what is there. */
export const lookOnly: Decide<Entry | undefined> = (entry) => ({ answer: entry, change: { _tag: "Keep" } })

/** One change of one name: see `Store`. */
export interface Modify {
  <A>(name: string, decide: Decide<A>, asker?: Asker): Effect.Effect<Outcome<A>, StoreError>
  /**
   * The same of a store that answers at once: the change is made, or has failed, when it returns. A store without `sharing`
   * may have it. It belongs to the function, so that a store with a `modify` of its own around this one does not have it.
   */
  readonly now?: (<A>(name: string, decide: Decide<A>) => Outcome<A> | StoreError) | undefined
}

/** Some of the names that a store has, and where to go on. */
export interface Page {
  /** Names that begin as was asked, in any order. One that changed meanwhile may be there twice, or not at all. */
  readonly names: ReadonlyArray<string>
  /** What `after` is to be for more; not there at the end. */
  readonly after?: string | undefined
}

/**
 * Names that are held, and begin with a prefix, at the most `count` of them, which is at most 1000: bounded work, however
 * many the store has, so that a page may have few names, or none, and more follow. Each name that is held from before the
 * first page until after the last is in one of them. Some that have just been freed may be there as well. `after`, of at
 * most 1,000 characters, is what the page before has said; for one that the store does not know (any more) it gives nothing.
 */
export type List = (
  prefix: string,
  after: string | undefined,
  count: number
) => Effect.Effect<Page | undefined, StoreError>

/** The `modify` of a store that answers at once, made of what it does. */
export const promptly = (now: NonNullable<Modify["now"]>): Modify =>
  Object.assign(
    <A>(name: string, decide: Decide<A>): Effect.Effect<Outcome<A>, StoreError> =>
      Effect.suspend(() => {
        const outcome = now(name, decide)
        return outcome instanceof StoreError ? Effect.fail(outcome) : Effect.succeed(outcome)
      }),
    { now }
  )

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
  /** Where it keeps the end that an earlier `Write` gave it, and the store has to know which: the revision of that. */
  readonly ends?: bigint | undefined
  /** Who has it, where that is known. */
  readonly holder?: Holder | undefined
}

/** Whether a write leaves the end of what is there as it is. What was there of holders is no tenure that goes on. */
export const leavesEnd = ({ begins, keepsEnd }: Write, before: Entry | undefined): boolean =>
  keepsEnd === true && begins !== true && before?.owner !== undefined

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
