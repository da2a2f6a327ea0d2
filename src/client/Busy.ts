/**
 * What a server says of a name that another holds: who, since when, and how many wait.
 */
import * as DateTime from "effect/DateTime"
import * as Duration from "effect/Duration"
import type { AcquireTimeout, Holder } from "../DlmError.ts"
import type { Holder as OnWire, Response } from "../protocol/Protocol.ts"

/** What is known of a name that another holds. */
export type Busy = Pick<AcquireTimeout, "holder" | "waiting">

/** What is public of a tenure of this process, for its own fibers: its label and its span, and since when by the wall clock. */
export const heldBy = (shown: Pick<Holder, "label" | "trace">, since: number): Busy => ({
  holder: { ...shown, since: DateTime.makeUnsafe(since) }
})

/** What an answer says of a name that another holds; nothing on a server that does not. */
export const of = ({ Holder, Waiting }: Extract<Response, { readonly Status: "NotOwner" }>): Busy => {
  return {
    ...(Holder === undefined ? {} : { holder: holderOf(Holder) }),
    ...(Waiting === undefined ? {} : { waiting: Number(Waiting) })
  }
}

// The calendar has more than the fifteen digits that a number of the wire may have.
const holderOf = ({ ExpiresIn, Held, Label, Since, Trace }: OnWire): Holder => ({
  ...(Label === undefined ? {} : { label: Label }),
  since: DateTime.makeUnsafe(Number(Since)),
  ...(ExpiresIn === undefined ? {} : { expiresIn: Duration.millis(Number(ExpiresIn)) }),
  ...(Held === undefined ? {} : { held: Number(Held) }),
  ...(Trace === undefined ? {} : { trace: Trace })
})
