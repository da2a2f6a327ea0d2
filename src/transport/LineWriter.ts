/**
 * Writes lines to a socket, all that come up in one turn of the event loop by one write.
 */
import { append, type NonEmptyReadonlyArray } from "effect/Array"
import * as Effect from "effect/Effect"
import * as Wire from "../protocol/Wire.ts"

/** The first block is twice as large as what was written last, within these bounds; the next are large. */
const smallBlockBytes = 512
const largeBlockBytes = 16 * 1024

/** A text of fewer characters is given the room that any text of its length could take. */
const shortCharacters = 512

/** Bytes that are written at once: the other side can work on them while more come up. */
const flushBytes = 2048

const empty = new Uint8Array(0)

export class LineWriter {
  // One buffer that grows would be copied again and again. The first block is made with the first line, since most
  // connections are idle most of the time.
  private fullBlocks: Array<Uint8Array> = []
  private fullBytes = 0
  private block: Uint8Array = empty
  private used = 0
  private firstBlockBytes = smallBlockBytes
  private wake: (() => void) | undefined
  private scheduled = false
  private pendingLines = 0
  private writingBytes = 0
  private readonly isEnough: (lines: number) => boolean

  /** Where so few lines are not enough, it is waited for a turn of the event loop whether more come up. */
  constructor(isEnough: (lines: number) => boolean = () => true) {
    this.isEnough = isEnough
  }

  private readonly awaitLines = Effect.callback<void>((resume) => {
    if (this.used > 0) return resume(Effect.void)
    this.wake = () => resume(Effect.void)
    return Effect.sync(() => {
      this.wake = undefined
    })
  })

  /** How many bytes of what was pushed have not been written whole. */
  get unsentBytes(): number {
    return this.pendingBytes + this.writingBytes
  }

  private get pendingBytes(): number {
    return this.fullBytes + this.used
  }

  /** Encodes text as a line, to be written soon. */
  push(text: string): void {
    const needed = text.length < shortCharacters ? Wire.maxLineBytes(text) : Wire.lineBytes(text)
    if (needed > this.block.length - this.used) this.addBlock(needed)
    this.used = Wire.encodeLineInto(text, this.block, this.used)
    this.pendingLines++
    if (this.wake === undefined) return
    if (this.pendingBytes >= flushBytes) return this.flush()
    if (this.scheduled) return
    this.scheduled = true
    queueMicrotask(() => {
      this.scheduled = false
      this.flush()
    })
  }

  private addBlock(needed: number): void {
    const isFirst = this.used === 0
    if (!isFirst) {
      this.fullBlocks.push(this.block.subarray(0, this.used))
      this.fullBytes += this.used
      this.used = 0
    }
    this.block = new Uint8Array(Math.max(needed, isFirst ? this.firstBlockBytes : largeBlockBytes))
  }

  private flush(): void {
    const wake = this.wake
    this.wake = undefined
    wake?.()
  }

  // The socket keeps what it is given until it is sent, so the next lines need another block.
  private take(): NonEmptyReadonlyArray<Uint8Array> {
    const blocks = append(this.fullBlocks, this.block.subarray(0, this.used))
    this.writingBytes = this.pendingBytes
    this.firstBlockBytes = Math.max(smallBlockBytes, Math.min(2 * this.writingBytes, largeBlockBytes))
    this.fullBlocks = []
    this.fullBytes = 0
    this.block = empty
    this.used = 0
    this.pendingLines = 0
    return blocks
  }

  /** Writes what is pushed, by `write`, until that fails; after each write says so. */
  run<E>(
    write: (blocks: NonEmptyReadonlyArray<Uint8Array>) => Effect.Effect<void, E>,
    written: () => void = () => {}
  ): Effect.Effect<never, E> {
    const writeAll = Effect.suspend(() =>
      Effect.tap(
        write(this.take()),
        Effect.sync(() => {
          this.writingBytes = 0
          written()
        })
      )
    )
    const gather = Effect.suspend(() => this.isEnough(this.pendingLines) ? Effect.void : Effect.yieldNow)
    return Effect.forever(this.awaitLines.pipe(Effect.andThen(gather), Effect.andThen(writeAll)), {
      disableYield: true
    })
  }
}
