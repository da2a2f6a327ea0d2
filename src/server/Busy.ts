/**
 * The answer of a server that cannot do it now. Those in the same process can be told why; the wire has no word for it.
 */
import type { Response } from "../protocol/Protocol.ts"

const causes = new WeakMap<Response, unknown>()

/** The answer of a server that cannot do it now. */
export const busy: Response = { Status: "NO" }

/** The same, for a reason. */
export const because = (cause: unknown): Response => {
  const answer: Response = { Status: "NO" }
  causes.set(answer, cause)
  return answer
}

/** Why an answer is that it cannot be done now, where that is known. */
export const causeOf = (answer: Response): unknown => causes.get(answer)
