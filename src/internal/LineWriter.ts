/**
 * Writes lines to a socket, all that come up in one turn of the event loop by one write.
 */
import * as Effect from "effect/Effect"
import * as Wire from "../Wire.ts"

const initialBytes = 4096

/** The largest buffer that is made before it is known what goes into it. */
const mostLikelyBytes = 16 * 1024

/** A text of fewer characters is given the room that any text of its length could take. */
const shortCharacters = 512

/** So many bytes are written at once: the other side can work on them while more come up. */
const flushBytes = 2048

const empty = new Uint8Array(0)

export class LineWriter {
  // Made with the first line, since most connections are idle most of the time.
  private buffer: Uint8Array = empty
  /** How large the next one is made. */
  private likelyBytes = initialBytes
  private wake: (() => void) | undefined
  private scheduled = false
  private pendingBytes = 0
  private pendingLines = 0
  private writingBytes = 0
  private readonly isEnough: (lines: number) => boolean

  /** Where so few lines are not enough, it is waited for a turn of the event loop whether more come up. */
  constructor(isEnough: (lines: number) => boolean = () => true) {
    this.isEnough = isEnough
  }

  private readonly awaitLines = Effect.callback<void>((resume) => {
    if (this.pendingBytes > 0) return resume(Effect.void)
    this.wake = () => resume(Effect.void)
    return Effect.sync(() => {
      this.wake = undefined
    })
  })

  /** How many bytes of what was pushed have not been written whole. */
  get unsentBytes(): number {
    return this.pendingBytes + this.writingBytes
  }

  /** Encodes text as a line, to be written soon. */
  push(text: string): void {
    const needed = this.pendingBytes +
      (text.length < shortCharacters ? Wire.maxLineBytes(text) : Wire.lineBytes(text))
    if (needed > this.buffer.length) {
      const larger = new Uint8Array(Math.max(needed, this.buffer.length * 2, this.likelyBytes))
      larger.set(this.buffer.subarray(0, this.pendingBytes))
      this.buffer = larger
    }
    this.pendingBytes = Wire.encodeLineInto(text, this.buffer, this.pendingBytes)
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

  private flush(): void {
    const wake = this.wake
    this.wake = undefined
    wake?.()
  }

  // The socket keeps what it is given until it is sent, so the next lines need another buffer.
  private take(): Uint8Array {
    const bytes = this.buffer.subarray(0, this.pendingBytes)
    this.likelyBytes = Math.max(initialBytes, Math.min(bytes.length, mostLikelyBytes))
    this.buffer = empty
    this.pendingBytes = 0
    this.pendingLines = 0
    this.writingBytes = bytes.length
    return bytes
  }

  /** Writes what is pushed, by `write`, until that fails; after each write says so. */
  run<E>(
    write: (bytes: Uint8Array) => Effect.Effect<void, E>,
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
