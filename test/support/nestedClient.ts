/**
 * A client in a process of its own: it holds one name until it is told to go on, and then another within it. It prints a line
 * of JSON when it holds the first, and one at the end.
 *
 *     node nestedClient.ts '{"port":37373,"names":["a","b"],"wire":"lines"}'
 */
import { Deferred, Effect, Exit } from "effect"
import { writeSync } from "node:fs"
import { createInterface } from "node:readline"
import { Lease } from "../../src/index.ts"
import { NodeTalker } from "../../src/node/index.ts"

export type Event =
  | { readonly event: "held" }
  /** In how many milliseconds after it was told to go on. `told` is the message of a deadlock. */
  | { readonly event: "ended"; readonly millis: number; readonly told?: string }

export interface Options {
  readonly port: number
  readonly names: readonly [outer: string, inner: string]
  readonly wire: "frames" | "lines"
}

const print = (event: Event) => Effect.sync(() => writeSync(1, JSON.stringify(event) + "\n"))

const program = ({ names: [outer, inner] }: Options, goOn: Deferred.Deferred<void>) =>
  Effect.gen(function*() {
    yield* print({ event: "held" })
    yield* Deferred.await(goOn)
    const began = performance.now()
    const exit = yield* Effect.exit(Lease.withLock(Effect.void, inner))
    const error = Exit.findErrorOption(exit)
    const told = error._tag === "Some" && error.value._tag === "LockUnavailable"
      ? error.value.reason.message
      : undefined
    yield* print({ event: "ended", millis: performance.now() - began, ...told === undefined ? {} : { told } })
  }).pipe(Lease.withLock(outer, { label: `of ${outer}` }))

if (import.meta.main) {
  const options = JSON.parse(process.argv[2]!) as Options
  const { port, wire } = options
  const goOn = Deferred.makeUnsafe<void>()
  createInterface(process.stdin)
    .on("line", () => Deferred.doneUnsafe(goOn, Effect.void))
    .on("close", () => process.exit())
  await Effect.runPromise(Effect.provide(program(options, goOn), NodeTalker.layer({ port, wire })))
}
