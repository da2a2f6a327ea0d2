/**
 * A name that one owner has at a time, with data: what becomes of it by a request. Pure.
 */
import * as patterns from "../protocol/patterns.ts"
import type { Request, Response } from "../protocol/Protocol.ts"
import * as Protocol from "../protocol/Protocol.ts"
import type { Change, Decision, Mutex } from "../store/Store.ts"
import * as Labels from "./Labels.ts"
import { type Revocation, revocationOf } from "./Revocation.ts"
import type { Shard } from "./Shard.ts"

const keep: Change = { _tag: "Keep" }
const remove: Change = { _tag: "Remove" }

/** Answers a request, and changes nothing. */
export const answerOnly = (answer: Response): Decision<Response> => ({ answer, change: keep })

/** Whether a request may renew a name. */
export const mayRenew = ({ Action }: Request): boolean => Action === "Lock" || Action === "Put"

/** Whether a request takes its name, where that is free. One that means a tenure takes none. */
export const takesFree = (request: Request): boolean => mayRenew(request) && request.Fence === undefined

/** Whether a request ends nothing, and only withdraws what its owner waits for on the same connection. */
export const isWithdrawal = ({ Action, Fence }: Request): boolean =>
  Action === "Unlock" && Fence !== undefined && BigInt(Fence) === 0n

/** The only tenure that a request means, where it means one. */
export const meantFence = ({ Action, Fence }: Request): bigint | undefined =>
  Fence === undefined || Action === "TestLock" || Action === "Get" || Action === "Version" ? undefined : BigInt(Fence)

/** The longest secret of a session, in characters: twice what 128 bits need in hexadecimal digits. */
const maxSessionCharacters = 64

// As on the wire, which one in this process has not passed.
const isFence = (text: string): boolean => /^\d{1,39}$/.test(text)

/** Whether what a request says of its time, a tenure, a span, a session, and an heir, fits together. */
export const isWellFormed = ({ Action, Expire, Fence, Heir, Session, Trace }: Request): boolean => {
  if (Number.isNaN(Expire) || (Fence !== undefined && !isFence(Fence))) return false
  if (Trace !== undefined && !patterns.trace.test(Trace)) return false
  return Action === "Version"
    ? Session === undefined || Session.length <= maxSessionCharacters
    : Action !== "Lock" || Heir === undefined || Fence !== undefined
}

/**
 * What the server says of itself; of its features only to a client that uses an extension. One that has a share of the
 * names refuses a client that means another server, or another list.
 */
export const version = (
  { Seq, Shards }: Request,
  shard: Shard | undefined,
  features: ReadonlyArray<Protocol.Feature>
): Response => {
  const known = shard?.shards.textOf(shard.name)
  if (known !== undefined && Shards !== undefined && Shards !== known) return { Status: "WrongShard", Shards: known }
  const answer = { Status: "Version", ID: Protocol.serverName } as const
  if (Seq === undefined) return answer
  return known === undefined
    ? { ...answer, Features: features.join(",") }
    : { ...answer, Features: [...features, "shards"].join(","), Shards: known }
}

/**
 * What the server answers to a request for a mutex, given the live entry of its name, and what becomes of that entry:
 * `identity` is whom the caller has proved to be.
 *
 * An entry is its owner's alone, under the identity that made it. A request that means one tenure touches no other:
 * `fence` is that of the entry's.
 */
export const transition = (
  entry: Mutex | undefined,
  request: Request,
  identity: string | undefined,
  fence?: bigint
): Decision<Response> => {
  const { ID } = request
  const meant = meantFence(request)
  const revocation = revocationOf(entry?.identity)
  if (entry !== undefined && revocation !== undefined) return ofRevoked(entry, revocation, request, identity, fence)
  if (meant !== undefined) {
    if (entry === undefined) return answerOnly({ Status: request.Action === "Erase" ? "NotFound" : "Unlocked" })
    if (entry.identity !== identity || fence === undefined) return answerOnly({ Status: "NotOwner" })
    if (request.Action === "Lock" && request.Heir !== undefined) {
      return passOn(entry, request, request.Heir, fence === meant ? "Meant" : fence > meant ? "Later" : "Earlier")
    }
    if (fence !== meant) return answerOnly({ Status: "NotOwner" })
  }
  // mutant: owner-check
  if (entry !== undefined && (entry.owner !== ID || entry.identity !== identity)) {
    return answerOnly({ Status: "NotOwner" })
  }
  switch (request.Action) {
    case "Lock":
      // mutant: renewal-keeps-data
      return { answer: { Status: "Locked", ID }, change: hold(request, identity, entry?.data) }
    case "TestLock":
      // mutant: test-changes-nothing
      return answerOnly(entry === undefined ? { Status: "Unlocked" } : { Status: "Locked", ID })
    case "Unlock":
      // mutant: unlock-frees
      return entry === undefined
        ? answerOnly({ Status: "Unlocked" })
        : { answer: { Status: "Unlocked", ID }, change: remove }
    case "Put":
      return request.DataStore === undefined
        ? answerOnly({ Status: "BadPayload" })
        : { answer: { Status: "Done", ID }, change: hold(request, identity, request.DataStore) }
    case "Get":
      if (entry === undefined) return answerOnly({ Status: "NotFound" })
      return answerOnly(
        entry.data === undefined ? { Status: "NoData", ID } : { Status: "Done", ID, DataStore: entry.data }
      )
    case "Erase":
      if (entry === undefined) return answerOnly({ Status: "NotFound" })
      // As the reference does, to its owner: an erase of a lock without data drops the lock.
      return { answer: entry.data === undefined ? { Status: "Corruption" } : { Status: "Done", ID }, change: remove }
    default:
      return answerOnly({ Status: "BadAction" })
  }
}

/** What its owner may still do with a tenure that was revoked: end it. */
const ends = ({ Action }: Request): boolean => Action === "Unlock" || Action === "Erase"

/** What the owner of a tenure that was revoked is told, where it uses an extension. */
export const refusedAs = ({ reason }: Revocation, { Seq }: Request): Decision<Response> =>
  answerOnly(Seq === undefined ? { Status: "NotOwner" } : { Status: "NotOwner", Revoked: reason })

const ofRevoked = (
  entry: Mutex,
  revocation: Revocation,
  request: Request,
  identity: string | undefined,
  fence: bigint | undefined
): Decision<Response> => {
  const meant = meantFence(request)
  const isMine = entry.owner === request.ID && revocation.identity === identity &&
    (meant === undefined || fence === meant)
  if (!isMine) return answerOnly({ Status: "NotOwner" })
  if (!ends(request)) return refusedAs(revocation, request)
  if (request.Action === "Unlock") return { answer: { Status: "Unlocked", ID: request.ID }, change: remove }
  return {
    answer: entry.data === undefined ? { Status: "Corruption" } : { Status: "Done", ID: request.ID },
    change: remove
  }
}

/**
 * Passes the tenure that is meant on to the heir, with a new fence. Where it is the heir's already, since this was asked
 * for before, the heir keeps it: a time to live counts from each request.
 */
const passOn = (
  entry: Mutex,
  request: Request,
  heir: string,
  tenure: "Earlier" | "Meant" | "Later"
): Decision<Response> => {
  const answer: Response = { Status: "Locked", ID: heir }
  // mutant: heir-has-it
  const change = hold({ ...request, ID: heir }, entry.identity, entry.data)
  if (entry.owner === request.ID && tenure === "Meant") {
    return { answer, change: change._tag === "Write" ? { ...change, begins: true } : change }
  }
  return entry.owner === heir && tenure === "Later" ? { answer, change } : answerOnly({ Status: "NotOwner" })
}

/** Takes back the grant of this revision, unless the entry has changed since. */
export const takeBack = (revision: bigint | undefined, granted: bigint | undefined): Change =>
  revision === granted ? remove : keep

// A time to live of 0 or less is granted, and holds nothing.
const hold = (request: Request, identity: string | undefined, data: string | undefined): Change =>
  request.Expire > 0
    ? {
      _tag: "Write",
      entry: { owner: request.ID, identity, data },
      ttlMillis: request.Expire * 1000,
      label: request.Action === "Lock" ? Labels.keptOf(request) : undefined
    }
    : remove
