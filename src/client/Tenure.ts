/**
 * One continuous hold of a name, from its grant to its release, expiry or loss.
 *
 * A tenure is a value. What renews it, gives it back, withdraws it or keeps data with it carries it, so that no request
 * under way can come to mean another.
 */
import * as Option from "effect/Option"
import { Shown } from "../lib/Shown.ts"

/** One continuous hold of a name. */
export class Tenure extends Shown {
  readonly name: string
  /** The `ID` that holds it. */
  readonly owner: string
  /**
   * Whether others may have the owner as well, as where it is an `id` of the user's or that of a token. Such a one is
   * given back only where it is provably this tenure that ends.
   */
  readonly isShared: boolean
  /** Grows with each new tenure of the name. None on a server that gives no fences. */
  readonly fence: Option.Option<bigint>
  /** When the request that was granted left, in milliseconds of the clock by which leases age. */
  readonly sentAt: number
  /** The same by the wall clock, in milliseconds since 1970. */
  readonly sentAtWall: number
  /** When that was answered, by the clock of leases. */
  readonly answeredAt: number
  /** How many others waited for the name then, as far as the server says; 0 on one that does not. */
  readonly waiting: number
  /** The span of whoever had the name before, where it was waited for and the server has told it. */
  readonly behind: string | undefined

  constructor(parts: Omit<Tenure, keyof Shown>) {
    super()
    this.name = parts.name
    this.owner = parts.owner
    this.isShared = parts.isShared
    this.fence = parts.fence
    this.sentAt = parts.sentAt
    this.sentAtWall = parts.sentAtWall
    this.answeredAt = parts.answeredAt
    this.waiting = parts.waiting
    this.behind = parts.behind
  }

  /** What is shown of it: the owner is a secret. */
  toJSON(): unknown {
    return { _id: "effect-dlm/Tenure", name: this.name }
  }
}

/**
 * Whether an answer is about the same tenure. An answer that has a fence where the tenure has none, or none where it has
 * one, is another server's, which cannot know the tenure.
 */
export const isSame = (one: Tenure, other: Pick<Tenure, "owner" | "fence">): boolean =>
  one.owner === other.owner &&
  (Option.isSome(one.fence)
    ? Option.isSome(other.fence) && one.fence.value === other.fence.value
    : Option.isNone(other.fence))
