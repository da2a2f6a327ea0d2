/**
 * Without any fault: no place of a name is lost, nobody passes the first that waits, and each holder ends for itself.
 */
import { Effect, Fiber, Option } from "effect"
import type { Protocol } from "effect-dlm/protocol"
import {
  type Asker,
  type Claim,
  fenceOf,
  giveBack,
  type Limited,
  lockOf,
  type More,
  requestOf,
  whole
} from "../../support/permits.ts"
import type { Seeded } from "../../support/random.ts"
import { asking } from "./permits.ts"
import { layerTalker, type World } from "./programs.ts"
import type { Machine } from "./Simulator.ts"

type Status = Protocol.Response["Status"]

/** What is tried on one name. */
interface Trial {
  readonly random: Seeded
  readonly ask: Asker["ask"]
  readonly limit: Limited["limit"]
  readonly settles: number
  readonly claim: (weight: Claim["weight"], ttl?: number) => Claim
  /** Asks for a lock, and says what is wrong with the answer. */
  readonly is: (expected: Status, when: string, claim: Claim, more?: More) => Effect.Effect<void>
  readonly gives: (claim: Claim) => Effect.Effect<void>
  readonly isFree: (when: string) => Effect.Effect<void>
  readonly violate: (what: string) => void
}

const trialOf = (
  { random, settles, violate: says }: World,
  machine: Machine,
  { limit, name }: Limited,
  ask: Asker["ask"]
): Trial => {
  let owners = 0
  const violate = (what: string) => says(`${name}, of ${limit}: ${what}`)
  const claim: Trial["claim"] = (weight, ttl = 5000) => ({
    name,
    limit,
    weight,
    ttl,
    id: `${machine.name}~${name}${owners++}`
  })
  const is: Trial["is"] = (expected, when, claim, more = {}) =>
    Effect.map(ask(lockOf(claim, more)), (answer) => {
      const status = Option.getOrUndefined(answer)?.Status
      if (status !== expected) violate(`a lock for ${claim.weight} was answered ${status}, not ${expected}, ${when}`)
    })
  const gives = (claim: Claim) =>
    Effect.andThen(giveBack({ ask, random }, claim, undefined), Effect.sleep(settles + 20))
  const isFree = (when: string) =>
    Effect.suspend(() => {
      const all = claim(whole(limit))
      return Effect.andThen(is("Locked", when, all), gives(all))
    })
  return { random, ask, limit, settles, claim, is, gives, isFree, violate }
}

/** All of it, and some of it after that, wait while one has some: they come in this order, and none passes them. */
const inTurn = ({ claim, gives, is, limit, settles, violate }: Trial) =>
  Effect.gen(function*() {
    const [first, heavy, light] = [claim(1), claim(whole(limit)), claim(1)]
    yield* is("Locked", "where it is free", first)
    yield* is("Conflict", "beside another limit", { ...claim(1), limit: 7 })
    yield* is("NotOwner", "beside a holder", claim(undefined))
    const came: Array<Claim> = []
    const waits = (one: Claim) =>
      is("Locked", "after it has waited", one, { Wait: 5000 }).pipe(
        Effect.andThen(Effect.sync(() => void came.push(one))),
        Effect.andThen(Effect.sleep(20)),
        Effect.andThen(gives(one)),
        Effect.forkChild({ startImmediately: true }),
        Effect.tap(() => Effect.sleep(settles + 20))
      )
    const waiters = [yield* waits(heavy), yield* waits(light)]
    yield* is("NotOwner", "behind those who wait", claim(1))
    yield* gives(first)
    yield* Effect.forEach(waiters, (fiber) => Fiber.join(fiber))
    if (came[0] !== heavy) violate("a light one passed the first that waited for all")
  })

/** One that gave up keeps nobody out. */
const givingUp = ({ claim, gives, is, limit, settles }: Trial) =>
  Effect.gen(function*() {
    const before = claim(whole(limit))
    yield* is("Locked", "where it is free", before)
    yield* is("NotOwner", "while another has all", claim(whole(limit)), { Wait: settles + 30 })
    yield* gives(before)
  })

/** One withdraws, perhaps while its grant is on its way: what nobody waits for is nobody's. */
const withdrawing = ({ ask, claim, gives, is, limit, random, settles }: Trial) =>
  Effect.gen(function*() {
    const [before, waiter] = [claim(whole(limit)), claim(whole(limit))]
    yield* is("Locked", "where it is free", before)
    const waiting = yield* Effect.forkChild(ask(lockOf(waiter, { Wait: 5000 })), { startImmediately: true })
    yield* Effect.sleep(settles + 20)
    yield* ask(requestOf(before, "Unlock"))
    yield* Effect.sleep(random.between(0, settles / 4))
    yield* ask(requestOf(waiter, "Unlock", { Fence: "0" }))
    const answer = yield* Fiber.join(waiting)
    yield* fenceOf(answer) === undefined ? Effect.sleep(settles) : gives(waiter)
  })

/** One that fits comes in as soon as the first, which did not, has given up. */
const afterTheFirst = ({ claim, gives, is, limit, settles }: Trial) =>
  Effect.gen(function*() {
    const [holder, light] = [claim(1), claim(1)]
    yield* is("Locked", "where it is free", holder)
    const Wait = settles + 100
    yield* Effect.forkChild(is("NotOwner", "while another holds", claim(whole(limit)), { Wait }), {
      startImmediately: true
    })
    yield* Effect.sleep(settles / 2 + 20)
    yield* is("Locked", "once the first that waited has gone", light, { Wait: Wait + settles + 1500 })
    yield* gives(light)
    yield* gives(holder)
  })

/** One is renewed, another is not, and ends by itself. */
const eachForItself = ({ claim, gives, is, limit }: Trial) =>
  Effect.gen(function*() {
    const [renewed, left] = [claim(1, 1500), claim(1, 1500)]
    yield* is("Locked", "where it is free", renewed)
    yield* is("Locked", "beside one that leaves room", left)
    yield* Effect.sleep(1000)
    yield* is("Locked", "as its owner's", renewed)
    yield* Effect.sleep(700)
    yield* is("NotOwner", "beside one that was renewed", claim(whole(limit)))
    if (limit !== "shared") {
      const rest = claim(limit - 1)
      yield* is("Locked", "after another's time was over", rest)
      yield* gives(rest)
    }
    yield* gives(renewed)
  })

const testerOf = (trial: Trial) =>
  Effect.gen(function*() {
    yield* trial.isFree("when all was given back")
    yield* inTurn(trial)
    yield* trial.isFree("after those who waited had it")
    yield* givingUp(trial)
    yield* trial.isFree("after one gave up waiting for it")
    for (let again = 0; again < 3; again++) {
      yield* withdrawing(trial)
      yield* trial.isFree("after one withdrew")
    }
    if (trial.limit === 1) return
    yield* afterTheFirst(trial)
    yield* trial.isFree("after the first that waited gave up")
    yield* eachForItself(trial)
    yield* trial.isFree("after one was renewed, and one was not")
  })

export const permitTester = (world: World, machine: Machine, limited: ReadonlyArray<Limited>) =>
  Effect.flatMap(asking, (ask) =>
    Effect.forEach(limited, (one) => testerOf(trialOf(world, machine, one, ask)), {
      concurrency: "unbounded",
      discard: true
    })).pipe(Effect.provide(layerTalker(world, machine)))
