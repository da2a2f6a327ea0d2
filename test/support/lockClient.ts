/**
 * A client in a process of its own: it queues for a lock, holds it until it is told to let go, and prints what happens
 * to it, a line of JSON each.
 *
 *     node lockClient.ts '{"port":37373,"name":"orders.csv","ttl":1500}'
 *
 * A line on its standard input lets go; the end of it ends the process.
 */
import { Deferred, Duration, Effect, Fiber, Option } from "effect"
import { writeSync } from "node:fs"
import { createInterface } from "node:readline"
import { Locker, Talker } from "../../src/index.ts"
import { NodeTalker } from "../../src/node/index.ts"

export type Event =
  /** It waits for the lock: the server has its claim. */
  | { readonly event: "queued" }
  | { readonly event: "granted"; readonly fence: string }
  /** The server has confirmed a request for the lock that was sent at that moment, or a renewal. */
  | { readonly event: "confirmed"; readonly sentAt: number }
  | { readonly event: "released" }
  | { readonly event: "failed"; readonly error: string }

export interface Options {
  readonly port: number
  readonly name: string
  /** In milliseconds. */
  readonly ttl: number
}

/** Milliseconds of the monotonic clock, which is one for all processes of the machine. */
export const now = (): number => Number(process.hrtime.bigint()) / 1e6

// Written before anything else happens, so that a kill leaves no line untold.
const print = (event: Event) => Effect.sync(() => writeSync(1, JSON.stringify(event) + "\n"))

const telling = (talk: Talker.Talker["Service"]["talk"]) =>
  Talker.Talker.of({
    talk: (request) =>
      Effect.suspend(() => {
        const sentAt = now()
        return Effect.tap(
          talk(request),
          (response) =>
            response.Status === "Locked" && request.Action === "Lock"
              ? print({ event: "confirmed", sentAt })
              : Effect.void
        )
      })
  })

const program = Effect.fnUntraced(function*({ name, ttl }: Options, letGo: Deferred.Deferred<void>) {
  const talker = telling((yield* Talker.Talker).talk)
  const locker = yield* Effect.provideService(
    Locker.make(name, { ttl: Duration.millis(ttl) }),
    Talker.Talker,
    talker
  )
  // The connection is there before the lock is asked for, so that what follows the request for it comes after it.
  yield* locker.version
  const holding = Effect.scoped(Effect.gen(function*() {
    const lease = yield* locker.acquire()
    yield* print({ event: "granted", fence: String(Option.getOrThrow(lease.fence)) })
    yield* Effect.raceFirst(Deferred.await(letGo), lease.lost)
  }))
  const fiber = yield* Effect.forkChild(Effect.exit(holding), { startImmediately: true })
  yield* locker.version
  yield* print({ event: "queued" })
  const exit = yield* Fiber.join(fiber)
  yield* print(exit._tag === "Success" ? { event: "released" } : { event: "failed", error: String(exit.cause) })
})

if (import.meta.main) {
  const options = JSON.parse(process.argv[2]!) as Options
  const letGo = Deferred.makeUnsafe<void>()
  createInterface(process.stdin)
    .on("line", () => Deferred.doneUnsafe(letGo, Effect.void))
    .on("close", () => process.exit())
  await Effect.runPromise(Effect.provide(program(options, letGo), NodeTalker.layer({ port: options.port })))
}
