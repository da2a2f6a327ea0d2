/**
 * Tests of what is not yet so. Each is written as it has to be once it is so, and must fail until then, by an assertion: a
 * test that hangs or breaks says nothing.
 */
import { assert, it } from "@effect/vitest"
import { Cause, Effect, Exit, type Scope } from "effect"

const isAssertion = (reason: Cause.Reason<unknown>): boolean =>
  Cause.isDieReason(reason) && (reason.defect as Error | undefined)?.name === "AssertionError"

const stillBroken = <A, E, R>(title: string, self: Effect.Effect<A, E, R>) =>
  Effect.flatMap(Effect.exit(self), (exit) => {
    if (Exit.isSuccess(exit)) return Effect.die(new Error(`this is so now: take its title out of broken.ts: ${title}`))
    return exit.cause.reasons.every(isAssertion) ? Effect.void : Effect.failCause(exit.cause)
  })

type Test = <A, E>(title: string, self: () => Effect.Effect<A, E, Scope.Scope>, timeout?: number) => void

/** `it.effect` and `it.live`, for tests of which those named here are known to fail. */
export const marking = (broken: ReadonlyArray<string>) => {
  const unseen = new Set(broken)
  const marked = (test: typeof it.effect.fails): Test => (title, self, timeout) => {
    unseen.delete(title)
    test(title, broken.includes(title) ? () => Effect.asVoid(stillBroken(title, self())) : self, timeout)
  }
  return {
    effect: marked(it.effect),
    live: marked(it.live),
    /** To be called at the end of the file. */
    complete: () => it("every mark has its test", () => assert.deepStrictEqual([...unseen], []))
  }
}
