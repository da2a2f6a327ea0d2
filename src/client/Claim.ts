/**
 * What is asked for: a name, and how it is to be held.
 *
 * A claim is the seam between what can be held (a mutex, permits, one side of a read-write lock, a candidacy) and what
 * waits, holds, renews and releases, which knows a claim only. It is data under a symbol, so that nothing but the
 * makers of claims can make one: an object that only looks like a Locker does not compile where a claim is wanted.
 */
import type * as Duration from "effect/Duration"
import type * as Schedule from "effect/Schedule"
import type { InvalidOption } from "../DlmError.ts"
import type { Request } from "../protocol/Protocol.ts"
import type { Talker } from "../transport/Talker.ts"
import type { DataCodec } from "./DataCodec.ts"

/** Under which a claim says what it asks for. */
export const ClaimTypeId: unique symbol = Symbol.for("~effect-dlm/Claim")

/** How a claim shares its name with others. */
export type Mode = "exclusive" | "shared" | "permit"

/** What is asked for, to be held by `Lease`. Made by `Locker.make`. */
export interface Claim<out M extends Mode = Mode> {
  readonly [ClaimTypeId]: Terms<M>
  /** What is locked. */
  readonly name: string
}

/** Which of its options a claim says. */
export interface Given {
  readonly ttl: boolean
  readonly label: boolean
  readonly identity: boolean
  readonly group: boolean
}

const booleans = [false, true]
const givens: ReadonlyArray<Given> = booleans.flatMap((ttl) =>
  booleans.flatMap((label) =>
    booleans.flatMap((identity) => booleans.map((group): Given => ({ ttl, label, identity, group })))
  )
)

/** The same value for the same, since a process may have very many claims. */
export const givenOf = ({ group, identity, label, ttl }: { readonly [K in keyof Given]?: unknown }): Given =>
  givens[
    (ttl === undefined ? 0 : 8) + (label === undefined ? 0 : 4) + (identity === undefined ? 0 : 2) +
    (group === undefined ? 0 : 1)
  ]!

/** How many may hold a name, and how much of that is asked for, as requests say it. */
export type Limit = Required<Pick<Request, "Limit" | "Weight">>

/** All that a request needs to know of what it is for. */
export interface Terms<out M extends Mode = Mode> {
  readonly mode: M
  readonly name: string
  readonly talker: Talker["Service"]
  readonly ttl: Duration.Duration
  readonly ttlSeconds: number
  /** What the maker of the claim has said; the rest are defaults, and give way to those of each call. */
  readonly given: Given
  /** What the holder says of itself to all who ask. */
  readonly label: string | undefined
  /** Of which group its waits and holds are counted. No server hears of it. */
  readonly group?: string | undefined
  /** The owner, where the user gave one: others may have it too. */
  readonly sharedOwner: string | undefined
  /** A new owner, which nobody else has. */
  readonly freshOwner: () => string
  readonly identity: Required<Pick<Request, "Name" | "Identity">> | undefined
  /** How many may hold the name, and how much of that is asked for; nothing of a mutex. */
  readonly limit: Limit | undefined
  readonly retry: Schedule.Schedule<unknown>
  readonly codec: DataCodec
  /** What is wrong with the claim, so that it cannot be held. */
  readonly problem?: InvalidOption | undefined
  /** The claim that these are of, whatever a call changes in them. */
  readonly origin: object
}

/** The terms of a claim. */
export const termsOf = <M extends Mode>(claim: Claim<M>): Terms<M> => claim[ClaimTypeId]
