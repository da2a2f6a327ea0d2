import { assert, describe, it } from "@effect/vitest"
import { Deferred, Effect } from "effect"
import { Wire } from "effect-dlm/protocol"
import { Outbox } from "../../src/transport/Outbox.ts"

const newline = 0x0a

const push = (outbox: Outbox, text: string) => {
  const { bytes } = outbox
  bytes.reserve(Wire.maxLineBytes(text))
  bytes.used = Wire.encodeLineInto(text, bytes.bytes, bytes.used)
  outbox.pushed()
}

/** An outbox, and how many lines each of its writes had. */
const started = Effect.fnUntraced(function*(isEnough?: (lines: number) => boolean) {
  const outbox = new Outbox(isEnough)
  const writes: Array<number> = []
  yield* Effect.forkScoped(
    outbox.run((blocks) =>
      Effect.sync(() => void writes.push(Buffer.concat(blocks).filter((byte) => byte === newline).length))
    ),
    { startImmediately: true }
  )
  return { outbox, writes }
})

// What was pushed in this turn of the event loop is flushed by the end of it.
const microtasks = Effect.promise(() => Promise.resolve())
const turn = Effect.promise(() => new Promise((resolve) => setImmediate(resolve)))

describe("the lines of one turn of the event loop", () => {
  it.effect("are one write", () =>
    Effect.gen(function*() {
      const { outbox, writes } = yield* started()
      for (const line of ["a", "b", "c"]) push(outbox, line)
      assert.deepStrictEqual(writes, [])
      yield* microtasks
      assert.deepStrictEqual(writes, [3])
      assert.strictEqual(outbox.unsentBytes, 0)
    }))

  it.effect("that are many bytes are several, so that the other side can begin", () =>
    Effect.gen(function*() {
      const { outbox, writes } = yield* started()
      for (let i = 0; i < 10; i++) push(outbox, "x".repeat(500))
      assert.isAbove(writes.length, 1)
      yield* turn
      assert.strictEqual(writes.reduce((all, lines) => all + lines, 0), 10)
    }))

  it.effect("of any length come whole, in order", () =>
    Effect.gen(function*() {
      const outbox = new Outbox()
      const written: Array<Uint8Array> = []
      const texts = Array.from({ length: 200 }, (_, i) =>
        `${i} ${"xé🔑".repeat((i * 7919) % (i % 20 === 0 ? 20_000 : 300))}`)
      for (const text of texts) {
        push(outbox, text)
      }
      const expected = Buffer.concat(texts.map(Wire.encodeLine))
      assert.strictEqual(outbox.unsentBytes, expected.length)
      yield* Effect.forkScoped(
        outbox.run((blocks) =>
          Effect.sync(() => void written.push(...blocks))
        ),
        {
          startImmediately: true
        }
      )
      for (const text of texts) push(outbox, text)
      yield* turn
      assert.isTrue(Buffer.concat([expected, expected]).equals(Buffer.concat(written)))
    }))

  it.effect("that are not enough wait a turn for more, and no longer", () =>
    Effect.gen(function*() {
      const { outbox, writes } = yield* started((lines) => lines >= 3)
      push(outbox, "a")
      yield* microtasks
      assert.deepStrictEqual(writes, [])
      push(outbox, "b")
      yield* turn
      assert.deepStrictEqual(writes, [2])

      for (const line of ["c", "d", "e"]) push(outbox, line)
      yield* microtasks
      assert.deepStrictEqual(writes, [2, 3])
    }))
})

describe("what was written", () => {
  const text = (bytes: Uint8Array) => Buffer.from(bytes).toString()
  /** An outbox whose first write ends when the test says so, and the memory that each write was given. */
  const held = Effect.fnUntraced(function*(reuses: boolean) {
    const outbox = new Outbox()
    const memory: Array<Uint8Array> = []
    const end = yield* Deferred.make<void>()
    const write = (blocks: ReadonlyArray<Uint8Array>) =>
      Effect.suspend(() => {
        memory.push(...blocks)
        return memory.length === 1 ? Deferred.await(end) : Effect.void
      })
    yield* Effect.forkScoped(outbox.run(write, { reuses }), { startImmediately: true })
    push(outbox, "first")
    yield* turn
    return { outbox, memory, end: Deferred.succeed(end, undefined) }
  })

  it.effect("stays as it is until it is written, and for ever where the socket may still read it", () =>
    Effect.gen(function*() {
      for (const reuses of [true, false]) {
        const { end, memory, outbox } = yield* held(reuses)
        const before = text(memory[0]!)
        push(outbox, "other")
        assert.strictEqual(text(memory[0]!), before)
        yield* end
        yield* turn
        for (let i = 0; i < 3; i++) {
          push(outbox, `later ${i}`)
          yield* turn
        }
        const places = new Set(memory.map(({ buffer }) => buffer)).size
        assert.strictEqual(places === memory.length, !reuses)
        if (!reuses) assert.strictEqual(text(memory[0]!), before)
      }
    }))
})
