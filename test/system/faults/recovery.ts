/**
 * What is done to the store of a campaign, and that it is used again afterwards.
 */
import { Context, Effect, Layer, Option, Schedule } from "effect"
import { Talker } from "effect-dlm"
import { NodeTalker } from "effect-dlm/node"
import { requestOf } from "../../support/request.ts"
import type { Faulty, Servers, StoreFault } from "./stores.ts"

/** Takes each of these names through a server, in a while, and gives it back: none is lost to all. */
export const canBeHad = Effect.fnUntraced(function*(port: number, names: ReadonlyArray<string>, within: number) {
  const { talk } = Context.get(yield* Layer.build(Layer.fresh(NodeTalker.layer({ port }))), Talker.Talker)
  yield* Effect.forEach(names, (FileName) => {
    const request = requestOf({ FileName, Expire: 5 })
    // The store may be in the midst of coming back: then it is asked again.
    const lock = Effect.flatMap(
      talk(request("Lock", "prober", { Wait: within })),
      (answer) => answer.Status === "Locked" ? Effect.void : Effect.fail(answer)
    ).pipe(
      Effect.retry({ schedule: Schedule.spaced("100 millis") }),
      Effect.timeout(within + 1_000),
      Effect.mapError((cause) => new Error(`${FileName} could not be had within ${within} ms`, { cause }))
    )
    return Effect.andThen(lock, talk(request("Unlock", "prober")))
  }, { concurrency: "unbounded" })
}, Effect.scoped)

/** So often in a row a store that is full may have room after all, since something else has ended. */
const mostRoom = 10

/**
 * Asks a server for names that nobody wants, and fails where they are granted. For longer than anything is held: an etcd without
 * space makes no lease, and still writes under those that it has; and what is granted takes the room that it found.
 */
const grantsNot = Effect.fnUntraced(function*(port: number, name: string) {
  const { talk } = Context.get(yield* Layer.build(Layer.fresh(NodeTalker.layer({ port }))), Talker.Talker)
  for (let i = 0; i < mostRoom; i++) {
    const request = requestOf({ FileName: `${name}.${i}`, Expire: 777 })("Lock", "prober")
    const answer = yield* Effect.option(Effect.timeout(talk(request), 1_000))
    if (Option.isNone(answer) || answer.value.Status !== "Locked") return
  }
  return yield* Effect.fail(new Error("the store works, and so there is no fault"))
}, Effect.scoped)

/** By when a store is to be used again after a fault has ended, in milliseconds: its connections may have to be made anew. */
const recovery = 8_000

/** The faults of a store, one after the other, and how often each was. After each a lock can be had through each server. */
export const failing = ({ faults }: Faulty, servers: () => Omit<Servers, "grantNothing">) => {
  const counts: Partial<Record<StoreFault, number>> = {}
  let probes = 0
  const all = Object.entries(faults).map(([fault, make]) =>
    Effect.gen(function*() {
      const name = `probe/${probes++}`
      const grantNothing = Effect.forEach(servers().ports, (port, i) => grantsNot(port, `${name}.${i}.refused`), {
        concurrency: "unbounded",
        discard: true
      })
      yield* make({ ...servers(), grantNothing })
      yield* Effect.forEach(servers().ports, (port, i) => canBeHad(port, [`${name}.${i}`], recovery), {
        concurrency: "unbounded"
      })
      counts[fault as StoreFault] = (counts[fault as StoreFault] ?? 0) + 1
    }).pipe(Effect.mapError((cause) => new Error(`with a store that was ${fault}: ${cause}`, { cause })))
  )
  return { all, counts: counts as Readonly<typeof counts> }
}
