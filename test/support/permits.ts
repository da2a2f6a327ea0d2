/**
 * What a client does with a name of which several have some: plain requests, as whoever writes a client of the protocol
 * sends them. Each program has an owner, and takes, renews, passes on and gives back; or leaves, and lets it end by itself.
 */
import { Effect, Option } from "effect"
import type { Protocol } from "effect-dlm/protocol"
import type { Seeded } from "./random.ts"

/** A name with a limit, as those who use it agree. */
export interface Limited {
  readonly name: string
  readonly limit: number | "shared"
}

/** What is asked for, by whom. */
export interface Claim extends Limited {
  readonly id: string
  /** Nothing where the name is to be one owner's alone. */
  readonly weight: number | "all" | undefined
  /** In milliseconds. */
  readonly ttl: number
}

export type More = Pick<Protocol.Request, "Fence" | "Heir" | "Wait">

/** Who asks, and how. */
export interface Asker {
  readonly random: Seeded
  /** Asks, and gives the answer, if there is one, and it is no other's. */
  readonly ask: (request: Protocol.Request) => Effect.Effect<Option.Option<Protocol.Response>>
  /** An owner that none has used before. */
  readonly freshId: () => string
  /** Hears of a tenure of an owner that is used once, and asks by its fence only from now on. */
  readonly began: (owner: Pick<Claim, "id" | "name">) => void
  /** For how long a claim is waited for, and what it has is held until something else is asked, in milliseconds. */
  readonly wait: (claim: Claim) => number
  readonly pause: (claim: Claim) => number
  /** Whether a holder goes away without giving back what it has. */
  readonly leaves: (claim: Claim) => boolean
}

export const requestOf = (
  { id, name, ttl }: Claim,
  Action: Protocol.Action,
  more: Partial<Protocol.Request> = {}
): Protocol.Request => ({ ID: id, FileName: name, Action, Expire: ttl / 1000, ...more })

export const lockOf = (claim: Claim, more: More = {}): Protocol.Request =>
  requestOf(claim, "Lock", {
    ...more,
    ...(claim.weight === undefined ? {} : { Limit: String(claim.limit), Weight: String(claim.weight) })
  })

/** The fence of a tenure that was granted. */
export const fenceOf = (answer: Option.Option<Protocol.Response>): string | undefined =>
  Option.isSome(answer) && answer.value.Status === "Locked" ? answer.value.Fence : undefined

/** Of a limit all, so that nobody else has any. */
export const whole = (limit: Limited["limit"]): Claim["weight"] => limit === "shared" ? "all" : limit

const anyWeight = (random: Seeded, limit: Limited["limit"]): Claim["weight"] =>
  limit === "shared" ? (random.chance(0.3) ? "all" : 1) : random.chance(0.2) ? limit : 1 + random.below(limit)

/** Most often as agreed; now and then with another limit, or none. */
export const claimOf = (random: Seeded, { limit: agreed, name }: Limited, id: string, ttl: number): Claim => {
  const limit = random.chance(0.93) ? agreed : random.chance(0.3) ? "shared" : 1 + random.below(5)
  return { name, limit, id, ttl, weight: random.chance(0.05) ? undefined : anyWeight(random, limit) }
}

/** How a holder gives back what it has: of the tenure that it knows, or whatever that is. */
export const giveBack = ({ ask, random }: Pick<Asker, "ask" | "random">, claim: Claim, fence: string | undefined) =>
  Effect.suspend(() =>
    Effect.asVoid(ask(requestOf(claim, "Unlock", fence !== undefined && random.chance(0.7) ? { Fence: fence } : {})))
  )

/** An owner does not know whether it has anything: it asks again, gives up, or leaves that to its time to live. */
const inDoubt = (asker: Asker, claim: Claim, more: More, isUsedAgain: boolean) =>
  Effect.suspend((): Effect.Effect<string | undefined> => {
    const { ask, random } = asker
    if (random.chance(0.3)) {
      const again = Effect.map(ask(lockOf(claim, more)), fenceOf)
      // What waits still would take the name for an owner that has given it back by its fence.
      return isUsedAgain ? again : Effect.andThen(ask(requestOf(claim, "Unlock", { Fence: "0" })), again)
    }
    const withdraws = random.chance(0.5) ? ask(requestOf(claim, "Unlock", { Fence: "0" })) : Effect.void
    return Effect.as(
      random.chance(0.7) ? Effect.andThen(withdraws, giveBack(asker, claim, undefined)) : withdraws,
      undefined
    )
  })

/** The owner takes what it claims, and gives its fence, if it knows one. */
const taking = (asker: Asker, claim: Claim, isUsedAgain: boolean) =>
  Effect.suspend(() => {
    const { ask, random } = asker
    const wait = asker.wait(claim)
    const more = wait === 0 ? {} : { Wait: wait }
    const asked = ask(lockOf(claim, more))
    return Effect.flatMap(
      random.chance(0.15)
        ? Effect.map(Effect.timeoutOption(asked, random.between(0, claim.ttl)), Option.flatten)
        : asked,
      (answer) => Option.isNone(answer) ? inDoubt(asker, claim, more, isUsedAgain) : Effect.succeed(fenceOf(answer))
    )
  })

/** What holds, and by which fence. */
interface Holding {
  readonly claim: Claim
  readonly fence: string
}

/** One thing that a holder does; most often it renews. Gives what it has then, as far as it was told. */
const doing = (asker: Asker, holding: Holding, isUsedAgain: boolean) =>
  Effect.suspend((): Effect.Effect<Holding | undefined> => {
    const { ask, random } = asker
    const { claim, fence } = holding
    // A late request that means no tenure would take the name for an owner that is never used again.
    const tenure = isUsedAgain && random.chance(0.4) ? {} : { Fence: fence }
    const without = (request: Protocol.Request) => Effect.as(ask(request), holding)
    if (random.chance(0.6)) {
      return Effect.map(ask(lockOf(claim, tenure)), (answer) => {
        const told = fenceOf(answer)
        // Without an answer it may still hold.
        return Option.isNone(answer) ? holding : told === undefined ? undefined : { claim, fence: told }
      })
    }
    switch (random.below(5)) {
      case 0:
        return without(requestOf(claim, random.pick(["TestLock", "Get"])))
      case 1:
        return without(lockOf({ ...claim, weight: anyWeight(random, claim.limit) }, { Fence: fence }))
      case 2:
        return without(lockOf({ ...claim, weight: undefined }, { Fence: fence }))
      case 3:
        return without(lockOf({ ...claim, limit: 9, weight: 1 }, { Fence: fence }))
      default:
        return passingOn(asker, holding)
    }
  })

const passingOn = (asker: Asker, holding: Holding): Effect.Effect<Holding | undefined> => {
  const { claim, fence } = holding
  const heir = { ...claim, id: asker.freshId() }
  return Effect.flatMap(asker.ask(lockOf(claim, { Fence: fence, Heir: heir.id })), (answer) => {
    const passed = fenceOf(answer)
    if (passed !== undefined) return Effect.succeed({ claim: heir, fence: passed })
    return Option.isSome(answer) ? Effect.succeed(undefined) : Effect.as(giveBack(asker, heir, undefined), holding)
  })
}

/** What one owner does. One that is used again may have something on its way from before. */
export const program = (asker: Asker, claim: Claim, isUsedAgain: boolean): Effect.Effect<void> =>
  Effect.gen(function*() {
    const fence = yield* taking(asker, claim, isUsedAgain)
    let holding: Holding | undefined = fence === undefined ? undefined : { claim, fence }
    for (let left = asker.random.below(5); left > 0 && holding !== undefined; left--) {
      const isUsed: boolean = isUsedAgain && holding.claim === claim
      if (!isUsed) asker.began(holding.claim)
      yield* Effect.sleep(asker.pause(claim))
      holding = yield* doing(asker, holding, isUsed)
    }
    if (holding !== undefined && !asker.leaves(claim)) yield* giveBack(asker, holding.claim, holding.fence)
  })
