/**
 * What a store must do with a name that several hold at a time.
 */
import * as Effect from "effect/Effect"
import type { Admitted, Asker, Decision, Entry, Next, Permit, Permits, Share } from "../../store/Store.ts"
import { expect, type Instance, keep, long, read, Violation } from "./Rule.ts"

/** A name that nobody holds. */
const nobody: Permits = { limit: 1, holders: [], next: undefined }

/** Of an entry the holders: none, where it is one owner's. */
export const permitsOf = (entry: Entry | undefined): Permits => entry?.limit === undefined ? nobody : entry

/** One that a name is to have. */
export const admitted = (owner: string, more: Partial<Admitted> = {}): Admitted => ({
  owner,
  identity: undefined,
  weight: 1,
  label: undefined,
  since: undefined,
  fence: undefined,
  endsIn: long,
  ...more
})

/** Changes what a name has of holders, whatever is there, and says what was. */
export const share = (
  store: Instance,
  name: string,
  change: (permits: Permits) => Partial<Share>,
  asker?: Asker
) =>
  store.modify(name, (found): Decision<Entry | undefined> => {
    const permits = permitsOf(found)
    const { holders, limit, next } = permits
    return { answer: found, change: { _tag: "Share", limit, holders, next, ...change(permits) } }
  }, asker)

/** Lets one more in, whatever the limit. */
export const admit = (store: Instance, name: string, one: Admitted, limit: Share["limit"] = 1000, asker?: Asker) =>
  share(store, name, ({ holders }) => ({ limit, holders: [...holders, one] }), asker)

/** Changes the holder of this owner, and leaves the others as they were found. */
const change = (
  store: Instance,
  name: string,
  owner: string,
  make: (one: Permit) => ReadonlyArray<Permit | Admitted>
) =>
  share(store, name, ({ holders }) => ({ holders: holders.flatMap((one) => one.owner === owner ? make(one) : [one]) }))

/** As the LockServer renews. */
export const renew = (store: Instance, name: string, owner: string, endsIn = long, more: Partial<Permit> = {}) =>
  change(store, name, owner, (one) => [{ ...one, isRenewed: true, endsIn, ...more }])

/** As the LockServer releases. */
export const release = (store: Instance, name: string, owner: string) => change(store, name, owner, () => [])

/** As the LockServer passes a tenure on. */
export const passOn = (store: Instance, name: string, owner: string, heir: Admitted) =>
  share(store, name, ({ holders }) => ({ holders: [...holders.filter((one) => one.owner !== owner), heir] }))

/** Has this one be next, or nobody. */
export const setNext = (store: Instance, name: string, next: Next | undefined) => share(store, name, () => ({ next }))

/** As the LockServer does: lets one in where it fits under that limit. */
export const enter = (store: Instance, name: string, owner: string, limit: number, asker: Partial<Asker> = {}) =>
  store.modify(name, (found): Decision<boolean> => {
    const { holders, next } = permitsOf(found)
    const weights = holders.reduce((sum, { weight }) => sum + Number(weight), 1)
    return found !== undefined && found.limit === undefined || weights > limit
      ? { answer: false, change: keep }
      : { answer: true, change: { _tag: "Share", limit, holders: [...holders, admitted(owner)], next } }
  }, { owner, identity: undefined, waits: false, shares: true, ...asker })

/** What is there. It fails where that is one owner's, or of the dead. */
export const readPermits = (store: Instance, name: string, asker?: Asker) =>
  Effect.flatMap(read(store, name, asker), ({ answer }) => {
    if (answer !== undefined && answer.limit === undefined) {
      return Effect.fail(new Violation({ problem: "there was a single owner, and not holders" }))
    }
    const permits = permitsOf(answer)
    const all = permits.next === undefined ? permits.holders : [...permits.holders, permits.next]
    const dead = all.find(({ endsIn }) => !(endsIn > 0))
    return Effect.as(expect(dead === undefined, `one was told of that had ended ${dead?.endsIn} ms ago`), permits)
  })

const shapeOf = ({ fence, identity, label, owner, weight }: Partial<Permit>) =>
  JSON.stringify({ owner, identity, weight, label, fence: String(fence) })

/** Fails unless these are the holders, in this order. */
export const expectHolders = (
  store: Instance,
  name: string,
  expected: ReadonlyArray<Pick<Permit, "owner" | "identity" | "weight" | "label" | "fence">>,
  when: string
) =>
  Effect.flatMap(readPermits(store, name), ({ holders }) => {
    const at = expected.findIndex((one, i) => holders[i] === undefined || shapeOf(holders[i]) !== shapeOf(one))
    const wrong = at === -1 ? undefined : `, and the one at ${at} is ${shapeOf(holders[at] ?? {})}`
    return expect(
      wrong === undefined && holders.length === expected.length,
      `${when} there are ${holders.length} holders instead of ${expected.length}${wrong ?? ""}`
    )
  })

/** Fails unless the holders are of these owners, in this order. */
export const expectOwners = (store: Instance, name: string, owners: ReadonlyArray<string>, when: string) =>
  Effect.flatMap(readPermits(store, name), ({ holders }) => {
    const found = holders.map(({ owner }) => owner)
    return expect(String(found) === String(owners), `${when} the holders were [${found}], and not [${owners}]`)
  })
