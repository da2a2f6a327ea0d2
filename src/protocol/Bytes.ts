/**
 * Bytes that are to be written: what codecs write messages into, block after block.
 *
 * A block is used again once it has been written, since making one costs more than what is written into it. That is so only
 * where the one who writes says that it is done with it.
 */
import { append, type NonEmptyReadonlyArray } from "effect/Array"

/** A piece of memory, and the two ways to write into it. */
interface Block {
  readonly bytes: Uint8Array
  readonly view: DataView
}

const blockOf = (size: number): Block => {
  const bytes = new Uint8Array(size)
  return { bytes, view: new DataView(bytes.buffer) }
}

/** Blocks of one size that wait to be used again. */
class Pool {
  readonly size: number
  private readonly most: number
  private readonly free: Array<Block> = []

  constructor(size: number, most: number) {
    this.size = size
    this.most = most
  }

  take(): Block {
    return this.free.pop() ?? blockOf(this.size)
  }

  giveBack(block: Block): void {
    if (this.free.length < this.most) this.free.push(block)
  }
}

// Most connections write little at a time: a thousand of them have a small block each at the most. Together they keep 1.3 MiB.
const small = new Pool(1024, 256)
const large = new Pool(16 * 1024, 64)

const none = blockOf(0)

/** Bytes in blocks. */
export class Bytes {
  private full: Array<Block> = []
  private parts: Array<Uint8Array> = []
  private fullBytes = 0
  private block = none
  private taken: ReadonlyArray<Block> = []
  /** About how much is taken at a time. */
  private usual = 0
  /** How many bytes of the block at hand are written. */
  used = 0

  /** How many bytes wait to be taken. */
  get size(): number {
    return this.fullBytes + this.used
  }

  /** The block at hand: what is reserved begins at `used`. */
  get bytes(): Uint8Array {
    return this.block.bytes
  }

  /** The same block, for numbers. */
  get view(): DataView {
    return this.block.view
  }

  /** Makes room for so many bytes in one block. */
  reserve(bytes: number): void {
    if (bytes > this.block.bytes.length - this.used) this.begin(bytes)
  }

  private begin(bytes: number): void {
    const isFirst = this.size === 0
    if (this.used > 0) {
      this.full.push(this.block)
      this.parts.push(this.block.bytes.subarray(0, this.used))
      this.fullBytes += this.used
      this.used = 0
    } else giveBack(this.block)
    const pool = bytes > small.size || !isFirst || this.usual > small.size / 2 ? large : small
    this.block = bytes > pool.size ? blockOf(bytes) : pool.take()
  }

  /** Takes all that is written, at least one byte. It is valid until it is done with. */
  take(): NonEmptyReadonlyArray<Uint8Array> {
    const { used } = this
    this.usual = Math.max(this.size, this.usual / 2)
    const parts = append(this.parts, this.block.bytes.subarray(0, used))
    this.taken = append(this.full, this.block)
    this.full = []
    this.parts = []
    this.fullBytes = 0
    this.block = none
    this.used = 0
    return parts
  }

  /** What was taken last is written, and its memory may be used again. */
  done(): void {
    this.taken.forEach(giveBack)
    this.taken = []
  }
}

const giveBack = (block: Block): void => {
  if (block.bytes.length === large.size) large.giveBack(block)
  else if (block.bytes.length === small.size) small.giveBack(block)
}
