import { assert, describe, it } from "@effect/vitest"
import { Bytes } from "../../src/protocol/Bytes.ts"
import { Seeded } from "../support/random.ts"

/** Writes so many bytes of one value, as codecs do: room for more is made first. */
const write = (to: Bytes, value: number, length: number, room = length) => {
  to.reserve(room)
  to.bytes.fill(value, to.used, to.used + length)
  to.used += length
}

const small = 1024
const large = 16 * 1024

/** What was taken, as one, copied. */
const copied = (parts: ReadonlyArray<Uint8Array>) => Buffer.concat(parts)

describe("bytes that wait to be written", () => {
  it("are all that was written, in order, whatever lengths it had", () => {
    const random = new Seeded(1)
    for (let i = 0; i < 200; i++) {
      const bytes = new Bytes()
      const expected: Array<Buffer> = []
      for (let n = 1 + random.below(30); n > 0; n--) {
        const length = random.pick([0, 1, 7, 500, 1000, small - 1, small, small + 1, 5000, large, large + 1, 40_000])
        const value = random.below(256)
        write(bytes, value, length, length + random.below(100))
        expected.push(Buffer.alloc(length, value))
      }
      const all = Buffer.concat(expected)
      assert.strictEqual(bytes.size, all.length)
      assert.isTrue(all.equals(copied(bytes.take())))
      assert.strictEqual(bytes.size, 0)
      if (random.chance(0.5)) bytes.done()
    }
  })

  it("are numbers and bytes in the same place", () => {
    const bytes = new Bytes()
    write(bytes, 7, 3)
    bytes.reserve(4)
    bytes.view.setUint32(bytes.used, 0x04030201, true)
    bytes.used += 4
    assert.deepStrictEqual([...copied(bytes.take())], [7, 7, 7, 1, 2, 3, 4])
  })

  it("stay as they are while more is written, until they are done with", () => {
    for (const length of [10, small, 3000, large, 3 * large]) {
      const bytes = new Bytes()
      write(bytes, 1, length)
      const first = bytes.take()
      write(bytes, 2, length)
      assert.isTrue(copied(first).every((byte) => byte === 1))
      const other = new Bytes()
      for (let i = 0; i < 10; i++) write(other, 3, length)
      assert.isTrue(copied(first).every((byte) => byte === 1))
      assert.isTrue(copied(bytes.take()).every((byte) => byte === 2))
    }
  })

  it("have their memory used again once they are done with, and only then", () => {
    for (const length of [10, large]) {
      const bytes = new Bytes()
      write(bytes, 1, length)
      const { buffer } = bytes.take()[0]
      const meanwhile = new Bytes()
      write(meanwhile, 2, length)
      assert.notStrictEqual(meanwhile.bytes.buffer, buffer)
      bytes.done()
      const next = new Bytes()
      write(next, 3, length)
      assert.strictEqual(next.bytes.buffer, buffer)
      // Done once, however often that is said.
      bytes.done()
      const another = new Bytes()
      write(another, 4, length)
      assert.notStrictEqual(another.bytes.buffer, buffer)
      for (const one of [meanwhile, next, another]) {
        one.take()
        one.done()
      }
    }
  })

  it("that nobody says to be done with are left to the collector", () => {
    const bytes = new Bytes()
    write(bytes, 1, 10)
    const { buffer } = bytes.take()[0]
    write(bytes, 2, 10)
    bytes.take()
    bytes.done()
    const others = Array.from({ length: 300 }, () => {
      const other = new Bytes()
      write(other, 3, 10)
      return other.bytes.buffer
    })
    assert.notInclude(others, buffer)
  })

  it("are never those of another writer, however many there are, and however they are done", () => {
    const random = new Seeded(2)
    const writers = Array.from({ length: 20 }, (_, i) => ({
      bytes: new Bytes(),
      value: i + 1,
      written: 0,
      taken: [] as ReadonlyArray<Uint8Array>,
      length: 0
    }))
    for (let i = 0; i < 20_000; i++) {
      const one = random.pick(writers)
      const isTaken = one.taken.length > 0
      if (random.chance(0.6) || (one.written === 0 && !isTaken)) {
        const length = 1 + random.below(random.pick([20, 600, 3000, 20_000]))
        write(one.bytes, one.value, length, length + random.below(50))
        one.written += length
      } else if (isTaken) {
        const all = copied(one.taken)
        assert.strictEqual(all.length, one.length)
        assert.isTrue(all.every((byte) => byte === one.value))
        // Of some that fail nobody says so.
        if (random.chance(0.9)) one.bytes.done()
        one.taken = []
      } else {
        one.length = one.written
        one.taken = one.bytes.take()
        one.written = 0
      }
    }
  })

  it("take one small block of a writer that has little, and a large one of one that has much", () => {
    const bytes = new Bytes()
    write(bytes, 1, 10)
    assert.strictEqual(bytes.bytes.length, small)
    write(bytes, 1, small)
    assert.strictEqual(bytes.bytes.length, large)
    bytes.take()
    bytes.done()
    write(bytes, 1, 10)
    assert.strictEqual(bytes.bytes.length, large)
    // What is longer than any has a block of its own length, which is not kept.
    const huge = new Bytes()
    write(huge, 1, large + 1)
    assert.strictEqual(huge.bytes.length, large + 1)
  })
})
