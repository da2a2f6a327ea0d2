/**
 * What a server says of a name that another holds: who, since when, and how many wait.
 */
import * as DateTime from "effect/DateTime"
import * as Duration from "effect/Duration"
import * as Option from "effect/Option"
import type { AcquireTimeout, Holder } from "../DlmError.ts"
import type { Holder as OnWire, Response } from "../protocol/Protocol.ts"

/** What is known of a name that another holds. */
export type Busy = Pick<AcquireTimeout, "holder" | "waiting">

/** What an answer says of a name that another holds; nothing on a server that does not. */
export const of = ({ Holder, Waiting }: Extract<Response, { readonly Status: "NotOwner" }>): Busy => {
  const holder = Holder && holderOf(Holder)
  return {
    ...(holder === undefined ? {} : { holder }),
    ...(Waiting === undefined ? {} : { waiting: Number(Waiting) })
  }
}

// A time that no calendar has is none.
const holderOf = ({ ExpiresIn, Label, Since }: OnWire): Holder | undefined => {
  const since = DateTime.make(Number(Since))
  return Option.isNone(since) ? undefined : {
    ...(Label === undefined ? {} : { label: Label }),
    since: since.value,
    expiresIn: Duration.millis(Number(ExpiresIn))
  }
}
