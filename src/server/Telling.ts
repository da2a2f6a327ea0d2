/**
 * What an answer tells beyond the reference: the fence of a tenure, who holds a name, and how many wait for it.
 *
 * It tells it only to a request that uses an extension. The owner it never tells: whoever knows the owner is it.
 */
import type * as Protocol from "../protocol/Protocol.ts"
import type { Request, Response } from "../protocol/Protocol.ts"
import { maxTtlMillis } from "../store/CompareAndSet.ts"
import type { Holder, Outcome } from "../store/Store.ts"
import { toldOf } from "./Labels.ts"

/** What is known of a name: of what became of it, or of when it was last looked at. */
export type Known = Pick<Outcome<Response>, "fence" | "holder" | "expiresIn">

/** The answer to a request, with what it may be told. `waiting` is how many others wait for the name at this server. */
export const tell = (request: Request, answer: Response, known: Known | undefined, waiting: number): Response => {
  if (answer.Status === "NotOwner" && request.Seq !== undefined) {
    const holder = known && holderOf(known)
    return { ...answer, ...(holder === undefined ? {} : { Holder: holder }), Waiting: String(waiting) }
  }
  if (answer.Status !== "Locked" || (request.Seq === undefined && request.Fence === undefined)) return answer
  // What was granted for no time has none: what is known then is about others.
  const fence = request.Action === "Lock" && request.Expire > 0 ? known?.fence : undefined
  const told: Response = fence === undefined ? answer : { ...answer, Fence: String(fence) }
  return waiting === 0 || request.Seq === undefined ? told : { ...told, Waiting: String(waiting) }
}

const holderOf = ({ expiresIn, holder }: Known): Protocol.Holder | undefined =>
  holder === undefined ? undefined : { ...publicOf(holder), ...endOf(expiresIn), ...heldOf(holder) }

const heldOf = ({ held }: Holder): Pick<Protocol.Holder, "Held"> => held === undefined ? {} : { Held: String(held) }

/** What is public of who holds a name. */
export const publicOf = ({ label, since }: Holder): Pick<Protocol.Holder, "Label" | "Since" | "Trace"> => ({
  ...toldOf(label),
  Since: sinceOf(since)
})

/** Since when it is, as it is told. The protocol knows whole milliseconds only, and a store may know parts of them. */
export const sinceOf = (since: number): string => String(Math.floor(since))

/** In how many milliseconds a tenure ends. A store in which others write need not know when that is. */
export const endOf = (expiresIn: number): Pick<Protocol.Holder, "ExpiresIn"> =>
  expiresIn === Infinity ? {} : { ExpiresIn: String(Math.ceil(Math.min(Math.max(expiresIn, 0), maxTtlMillis))) }
