/**
 * Requests for a name with a limit, as a LockServer asks its store for them.
 */
import { Effect } from "effect"
import type { Protocol } from "effect-dlm/protocol"
import type { Store } from "effect-dlm/server"
import { transition } from "../../../src/server/Transition.ts"

type Instance = Store.Store["Service"]

/** What one asks for, of a semaphore of three where nothing else is said, for a minute. */
export interface Wanted {
  readonly limit?: number | "shared"
  readonly weight?: number | "all"
  readonly ttlMillis?: number
  readonly label?: string
  readonly heir?: string
  readonly fence?: bigint | undefined
  readonly keepsTurnFor?: number
}

const ask = (store: Instance, request: Protocol.Request, keepsTurnFor?: number) =>
  Effect.map(
    store.modify(request.FileName, (entry, _, fence) => transition(entry, request, undefined, fence, keepsTurnFor), {
      owner: request.ID,
      identity: undefined,
      waits: false,
      fence: request.Fence === undefined ? undefined : BigInt(request.Fence),
      shares: request.Limit !== undefined
    }),
    (outcome) => ({ ...outcome, status: outcome.answer.Status })
  )

/** Asks for a place among the holders of a name, or renews it. */
export const share = (store: Instance, name: string, owner: string, wanted: Wanted = {}) => {
  const { fence, heir, label, limit = 3, ttlMillis = 60_000, keepsTurnFor, weight = 1 } = wanted
  return ask(store, {
    Action: "Lock",
    FileName: name,
    ID: owner,
    Expire: ttlMillis / 1000,
    Limit: String(limit),
    Weight: String(weight),
    ...(label === undefined ? {} : { Label: label }),
    ...(heir === undefined ? {} : { Heir: heir }),
    ...(fence === undefined ? {} : { Fence: String(fence) })
  }, keepsTurnFor)
}

/** Gives a place among holders back. */
export const leave = (store: Instance, name: string, owner: string) =>
  ask(store, { Action: "Unlock", FileName: name, ID: owner, Expire: 1 })

/** Who holds a name with a limit, and who is next. */
export const holders = (store: Instance, name: string) =>
  Effect.map(
    store.modify(name, (found): Store.Decision<Store.Entry | undefined> => ({
      answer: found,
      change: { _tag: "Keep" }
    })),
    ({ answer }) => answer?.limit === undefined ? undefined : answer
  )

/** The owners of a name, in the order in which their tenures began. */
export const owners = (store: Instance, name: string) =>
  Effect.map(holders(store, name), (found) => found?.holders.map(({ owner }) => owner))
