/**
 * The error of a lease that is lost.
 */
import { Expired, LeaseLost, type LossReason, MaxHold, Released, Revoked, TakenAway } from "../DlmError.ts"
import type { Reason } from "./LeaseMachine.ts"

const reasonOf = (why: Reason | "Released", cause: unknown): LossReason => {
  switch (why) {
    case "Expired":
      return new Expired(cause === undefined ? {} : { cause })
    case "TakenAway":
      return new TakenAway()
    case "MaxHold":
      return new MaxHold()
    case "Revoked":
      return new Revoked(typeof cause === "string" ? { why: cause } : {})
    case "Released":
      return new Released()
  }
}

/**
 * A lease of this name is lost. `cause` is what its last renewal failed with, if it did; of one that was
 * revoked, why.
 */
export const lost = (name: string, why: Reason | "Released", cause?: unknown): LeaseLost =>
  new LeaseLost({ name, reason: reasonOf(why, cause) })
