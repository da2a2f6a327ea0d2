/**
 * A name that one owner has at a time, with data: what becomes of it by a request. Pure.
 */
import type { Request, Response } from "../protocol/Protocol.ts"
import * as Protocol from "../protocol/Protocol.ts"
import type { Change, Decision, Entry } from "../store/Store.ts"

const keep: Change = { _tag: "Keep" }
const remove: Change = { _tag: "Remove" }

/** Answers a request, and changes nothing. */
export const answerOnly = (answer: Response): Decision<Response> => ({ answer, change: keep })

/** Whether a request takes its name, where that is free, and renews it where its owner has it. */
export const takesName = ({ Action }: Request): boolean => Action === "Lock" || Action === "Put"

/** What the server says of itself; of its features only to a client that uses an extension. */
export const version = (request: Request): Response => ({
  Status: "Version",
  ID: Protocol.serverName,
  ...(request.Seq === undefined ? {} : { Features: Protocol.features.join(",") })
})

/**
 * What the server answers to a request, given the live entry of its name, and
 * what becomes of that entry. Pure: `identity` is whom the caller has proved
 * to be.
 *
 * An entry is its owner's alone, under the identity that made it.
 */
export const transition = (
  entry: Entry | undefined,
  request: Request,
  identity: string | undefined
): Decision<Response> => {
  const { ID } = request
  if (request.Action === "Version") return answerOnly(version(request))
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
  }
}

/** Takes back the grant of this revision, unless the entry has changed since. */
export const takeBack = (revision: bigint | undefined, granted: bigint | undefined): Decision<undefined> => ({
  answer: undefined,
  change: revision === granted ? remove : keep
})

// A time to live of 0 or less is granted, and holds nothing.
const hold = (request: Request, identity: string | undefined, data: string | undefined): Change =>
  request.Expire > 0
    ? { _tag: "Write", entry: { owner: request.ID, identity, data }, ttlMillis: request.Expire * 1000 }
    : remove
