/**
 * Requests of a test, which mostly differ in what is asked and by whom.
 */
import type { Protocol } from "effect-dlm/protocol"

type About = Pick<Protocol.Request, "FileName" | "Expire" | "Seq">

/** Makes requests about a name, with this time to live in seconds; other fields are given with each. */
export const requestOf =
  (about: About) => (Action: Protocol.Action, ID: string, fields?: Partial<Protocol.Request>): Protocol.Request => ({
    ...about,
    ID,
    Action,
    ...fields
  })
