/**
 * What several instances on one store do for one another.
 */
import * as Effect from "effect/Effect"
import * as Stream from "effect/Stream"
import type { Outcome, Sharing, Store } from "../../store/Store.ts"
import { admit, admitted, enter, expectOwners, readPermits, release, renew, setNext } from "./holders.ts"
import { expect, isFree, law, lock, long, read, remove, type Rule, Violation } from "./Rule.ts"

// Nothing tells when an instance listens, so it is done again and again until that hears of it.
const expectHeard = <E, R>(
  { freed }: Sharing,
  name: string,
  frees: Effect.Effect<unknown, E, R>,
  what: string
): Effect.Effect<void, E | Violation, R> => {
  const hears = freed.pipe(Stream.filter((one) => one === name), Stream.take(1), Stream.runDrain)
  const again = Effect.forever(Effect.andThen(frees, Effect.sleep("100 millis")))
  return Effect.timeoutOrElse(Effect.raceFirst(hears, again), {
    duration: "10 seconds",
    orElse: () => Effect.fail(new Violation({ problem: `nothing was heard of ${what}` }))
  })
}

/** As a server does whose request was not granted, and waits. */
const waits = ({ sharing }: Store["Service"], name: string, { revision }: Outcome<unknown>): Effect.Effect<void> =>
  Effect.sync(() => sharing?.expect?.(name, revision, long))

/** What several instances on one store do for one another. */
export const sharingLaws: ReadonlyArray<Rule> = [
  law("two instances that share a store exclude one another", (store, name, { another }) =>
    Effect.gen(function*() {
      if (store.sharing === undefined) return
      const other = yield* another
      yield* lock(store, name, "mine")
      yield* expect(!(yield* lock(other, name, "theirs")).answer, "two instances gave the same name")
      yield* remove(store, name)
      yield* expect((yield* lock(other, name, "theirs")).answer, "a name that was freed was not given")
      yield* remove(other, name)
    })),

  law("a waiter hears of what another instance frees", (store, name, { tells, another }) =>
    Effect.gen(function*() {
      if (store.sharing === undefined || !tells) return
      const other = yield* another
      if (other.sharing === undefined) return yield* new Violation({ problem: "only one of two instances shares" })
      const frees = Effect.gen(function*() {
        yield* lock(store, name, "mine")
        yield* waits(other, name, yield* lock(other, name, "theirs", long, true))
        yield* remove(store, name, { owner: "mine", identity: undefined, waits: false })
      })
      yield* expectHeard(other.sharing, name, frees, "a name that was freed")
      yield* remove(store, name)
    })),

  law(
    "an instance sees, renews and ends holders that another let in",
    (store, name, { another }) =>
      Effect.gen(function*() {
        if (store.sharing === undefined) return
        const other = yield* another
        const { fence } = yield* admit(store, name, admitted("mine"), 2)
        yield* expectOwners(other, name, ["mine"], "at another instance")
        yield* expect((yield* enter(other, name, "theirs", 2)).answer, "another instance did not let in what fits")
        for (const at of [store, other]) {
          yield* expectOwners(at, name, ["mine", "theirs"], "after two instances let one in each")
          yield* expect(!(yield* enter(at, name, "third", 2)).answer, "more were let in than fit")
          const renewed = yield* renew(at, name, "mine")
          yield* expect(renewed.fence === fence, `fence ${fence} became ${renewed.fence} at another instance`)
        }
        yield* setNext(store, name, { owner: "next", identity: undefined, weight: 2, endsIn: long })
        yield* expect((yield* readPermits(other, name)).next?.owner === "next", "who is next was not seen")
        yield* setNext(other, name, undefined)
        yield* release(other, name, "mine")
        yield* expectOwners(store, name, ["theirs"], "after another instance had released one")
        yield* expect((yield* enter(store, name, "third", 2)).answer, "what was released elsewhere was not free")
        yield* release(store, name, "theirs")
        yield* release(other, name, "third")
        for (const at of [store, other]) yield* expect(isFree(yield* read(at, name)), "it was not free in the end")
      })
  ),

  law(
    "a waiter hears of one of several holders that another instance releases",
    (store, name, { tells, another }) =>
      Effect.gen(function*() {
        if (store.sharing === undefined || !tells) return
        const other = yield* another
        if (other.sharing === undefined) return yield* new Violation({ problem: "only one of two instances shares" })
        yield* admit(store, name, admitted("stays"), 2)
        const releases = Effect.gen(function*() {
          yield* admit(store, name, admitted("goes"), 2)
          yield* waits(other, name, yield* enter(other, name, "waits", 2, { waits: true }))
          yield* release(store, name, "goes")
        })
        yield* expectHeard(other.sharing, name, releases, "a holder that was released")
        yield* remove(store, name)
      })
  )
]
