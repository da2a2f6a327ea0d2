/**
 * What becomes of a name by a request, whatever kind of lock is asked for. Pure.
 */
import * as Protocol from "../protocol/Protocol.ts"
import type { Request, Response } from "../protocol/Protocol.ts"
import type { Decision, Entry } from "../store/Store.ts"
import * as Mutex from "./Mutex.ts"
import * as Permits from "./Permits.ts"

/** Whether what a request says fits together. */
export const isWellFormed = (request: Request): boolean => Mutex.isWellFormed(request) && Permits.isWellFormed(request)

/**
 * What the server answers to a request, given the live entry of its name, and what becomes of that entry. Pure: `identity`
 * is whom the caller has proved to be, `fence` that of the entry, if it has one owner. The first of those who wait
 * `keepsTurnFor` so many milliseconds, where other servers let in too.
 */
export const transition = (
  entry: Entry | undefined,
  request: Request,
  identity: string | undefined,
  fence?: bigint,
  keepsTurnFor?: number
): Decision<Response> => {
  if (request.Action === "Version") return Mutex.answerOnly(Mutex.version(request, undefined, Protocol.features))
  if (Mutex.isWithdrawal(request)) return Mutex.answerOnly({ Status: "Unlocked" })
  return entry?.limit === undefined && Permits.askedOf(request) === undefined
    ? Mutex.transition(entry, request, identity, fence)
    : Permits.transition(entry, request, identity, keepsTurnFor)
}

/** Takes back a grant, of this fence, unless its owner was told of it since: `revision` is that of the name now. */
export const takeBack = (
  entry: Entry | undefined,
  revision: bigint | undefined,
  granted: bigint | undefined
): Decision<undefined> => ({
  answer: undefined,
  change: entry?.limit === undefined ? Mutex.takeBack(revision, granted) : Permits.takeBack(entry, granted)
})
