/**
 * Clients that take some of a name by plain requests, beside those with leases.
 */
import { Effect, Option } from "effect"
import { Talker } from "effect-dlm"
import type { Protocol } from "effect-dlm/protocol"
import { isAnothers } from "../../support/history/tenures.ts"
import {
  type Asker,
  type Claim,
  claimOf,
  fenceOf,
  giveBack,
  type Limited,
  lockOf,
  program,
  whole
} from "../../support/permits.ts"
import { layerTalker, type World } from "./programs.ts"
import type { Machine } from "./Simulator.ts"

/** Asks over the network, and gives the answer, if there is one, and it is no other's. */
export const asking = Effect.map(
  Talker.Talker,
  ({ talk }): Asker["ask"] => (request: Protocol.Request) =>
    talk(request).pipe(
      Effect.option,
      Effect.map(Option.filter((response) => !isAnothers(response, { id: request.ID, heir: request.Heir })))
    )
)

const askerOf = ({ orphans, random }: World, machine: Machine, ask: Asker["ask"]): Asker => {
  let owners = 0
  return {
    random,
    ask,
    freshId: () => `${machine.name}~${owners++}`,
    began: (owner) => orphans.began(owner),
    wait: ({ ttl }) => random.pick([0, ttl / 4, ttl, 3 * ttl]),
    pause: ({ ttl }) => random.chance(0.9) ? random.between(0, ttl / 3) : random.between(0, 2 * ttl),
    leaves: () => random.chance(0.15)
  }
}

/** Once all is well again, no part of a limit is lost: one gets all of it. */
const last = (world: World, machine: Machine, asker: Asker, { limit, name }: Limited) =>
  Effect.gen(function*() {
    const claim: Claim = { name, limit, id: asker.freshId(), ttl: 2000, weight: whole(limit) }
    const asked = asker.ask(lockOf(claim, { Wait: 60_000 }))
    // The first may go by a connection that was lost long ago.
    let answer = yield* asked
    for (let again = 0; again < 3 && Option.isNone(answer); again++) answer = yield* asked
    const fence = fenceOf(answer)
    if (fence === undefined) {
      return world.violate(`${machine.name} got not all of ${name} after all was well again: ${JSON.stringify(answer)}`)
    }
    yield* giveBack(asker, claim, fence)
  })

/** Fibers of a client that go on until enough was asked, and then show that all is well again. */
export const client = (world: World, machine: Machine, limited: ReadonlyArray<Limited>, fibers: number) =>
  Effect.gen(function*() {
    const { calm, enough, random, ttls } = world
    const asker = askerOf(world, machine, yield* asking)
    const fiber = (number: number) =>
      Effect.gen(function*() {
        const chosen = `${machine.name.split(".")[0]}-${10 + number}`
        while (!enough()) {
          const at = random.below(limited.length)
          const one = limited[at]!
          const isChosen = random.chance(0.3)
          // Of one owner each request asks for as long: a shorter one would end the tenure of all earlier.
          const claim = isChosen
            ? claimOf(random, one, chosen, ttls[(at + number) % ttls.length]!)
            : claimOf(random, one, asker.freshId(), random.pick(ttls))
          if (!enough(one.name)) yield* program(asker, claim, isChosen)
          yield* Effect.sleep(random.between(0, 60))
        }
        while (!calm()) yield* Effect.sleep(100)
        yield* last(world, machine, asker, limited[number % limited.length]!)
      })
    yield* Effect.forEach(Array.from({ length: fibers }), (_, i) => fiber(i), {
      concurrency: "unbounded",
      discard: true
    })
  }).pipe(Effect.provide(layerTalker(world, machine)))
