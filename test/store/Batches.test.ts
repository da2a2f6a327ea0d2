import { assert, describe, it } from "@effect/vitest"
import { Deferred, Duration, Effect, Fiber } from "effect"
import { Batches, type Options } from "../../src/store/Batches.ts"

/** Commands that are answered when they are told to be, with what they were asked. */
const started = Effect.fnUntraced(function*(
  options?: Partial<Pick<Options<string, string>, "max" | "enough" | "isLarge">>
) {
  const commands: Array<{ questions: ReadonlyArray<string>; answer: Effect.Effect<unknown>; interrupted: boolean }> = []
  const batches = new Batches<string, string>({
    max: 3,
    context: yield* Effect.context<never>(),
    perform: (questions) =>
      Effect.suspend(() => {
        const answered = Deferred.makeUnsafe<ReadonlyArray<string>>()
        const command = { questions, answer: Deferred.succeed(answered, questions), interrupted: false }
        commands.push(command)
        return Effect.onInterrupt(Deferred.await(answered), () => Effect.sync(() => void (command.interrupted = true)))
      }),
    // Of the same is what begins with the same letter.
    unordered: {
      keyOf: (question) => question.charAt(0),
      grace: Duration.zero,
      valid: Duration.minutes(1),
      abandoned: () => {}
    },
    ...options
  })
  return { batches, commands, asked: () => commands.map(({ questions }) => questions.join(" ")) }
})

const turn = Effect.promise(() => new Promise((resolve) => setImmediate(resolve)))
const turns = Effect.repeat(turn, { times: 5 })

describe("what is asked in one turn of the event loop", () => {
  it.effect("goes as few commands, one in each turn", () =>
    Effect.gen(function*() {
      const { asked, batches, commands } = yield* started()
      const all = yield* Effect.forkChild(
        Effect.forEach(["a", "b", "c", "d"], (question) => batches.ask(question), { concurrency: "unbounded" })
      )
      yield* turns
      assert.deepStrictEqual(asked(), ["a b c", "d"])
      for (const { answer } of commands) yield* answer
      assert.deepStrictEqual(yield* Fiber.join(all), ["a", "b", "c", "d"])
    }))

  it.effect("goes by larger commands as half of all that has no answer, where that is more than enough for one", () =>
    Effect.gen(function*() {
      const { asked, batches, commands } = yield* started({ max: 4, enough: 2 })
      const ask = (questions: string) =>
        Effect.forkChild(
          Effect.forEach(questions.split(" "), (question) => batches.ask(question), { concurrency: "unbounded" })
        )
      yield* ask("a b c d e f")
      yield* turns
      assert.deepStrictEqual(asked(), ["a b c", "d e f"])
      yield* commands[0]!.answer
      yield* ask("g h i")
      yield* turns
      assert.deepStrictEqual(asked().slice(2), ["g h i"])
      for (const { answer } of commands) yield* answer
      yield* ask("j k l")
      yield* turns
      assert.deepStrictEqual(asked().slice(3), ["j k", "l"])
      for (const { answer } of commands) yield* answer
      yield* ask("m n o p q r s t u v")
      yield* turns
      assert.deepStrictEqual(asked().slice(5), ["m n o p", "q r s t", "u v"])
    }))

  it.effect("goes alone where it is large, in the order of its asking", () =>
    Effect.gen(function*() {
      const { asked, batches } = yield* started({ isLarge: (question) => question === question.toUpperCase() })
      yield* Effect.forkChild(
        Effect.forEach(["a", "B", "c", "d"], (question) => batches.ask(question), { concurrency: "unbounded" })
      )
      yield* turns
      assert.deepStrictEqual(asked(), ["a", "B", "c d"])
    }))
})

describe("whoever is interrupted", () => {
  it.effect("has what was asked of the same wait for the end of the command", () =>
    Effect.gen(function*() {
      const { asked, batches, commands } = yield* started()
      const [leaver, other] = yield* Effect.all([
        Effect.forkChild(batches.ask("a lock")),
        Effect.forkChild(batches.ask("b lock"))
      ])
      yield* turns
      yield* Fiber.interrupt(leaver)
      const after = yield* Effect.all([
        Effect.forkChild(batches.ask("a unlock")),
        Effect.forkChild(batches.ask("c lock"))
      ])
      yield* turns
      assert.deepStrictEqual(asked(), ["a lock b lock", "c lock"])
      assert.isFalse(commands[0]!.interrupted)
      yield* commands[0]!.answer
      assert.strictEqual(yield* Fiber.join(other), "b lock")
      yield* turns
      assert.deepStrictEqual(asked(), ["a lock b lock", "c lock", "a unlock"])
      yield* Effect.forEach(commands, ({ answer }) => answer)
      assert.deepStrictEqual(yield* Effect.forEach(after, (one) => Fiber.join(one)), ["a unlock", "c lock"])
    }))

  it.effect("has not asked, if that was before it was sent, and interrupts a command that nobody waits for", () =>
    Effect.gen(function*() {
      const { asked, batches, commands } = yield* started()
      const early = yield* Effect.forkChild(batches.ask("a"), { startImmediately: true })
      yield* Fiber.interrupt(early)
      const both = yield* Effect.forkChild(Effect.all([batches.ask("b"), batches.ask("c")], { concurrency: 2 }))
      yield* turns
      assert.deepStrictEqual(asked(), ["b c"])
      yield* Fiber.interrupt(both)
      yield* turns
      assert.isTrue(commands[0]!.interrupted)
    }))
})
