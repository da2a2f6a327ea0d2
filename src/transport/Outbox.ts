/**
 * Writes messages to a socket, all that come up in one turn of the event loop by one write.
 */
import type { NonEmptyReadonlyArray } from "effect/Array"
import * as Effect from "effect/Effect"
import type * as Socket from "effect/socket/Socket"
import { Bytes } from "../protocol/Bytes.ts"

/** Bytes that are written at once: the other side can work on them while more come up. */
const flushBytes = 2048

/** What a socket's writer may say of itself: what it was given it does not need any more once it has written it. */
export interface Finishing extends Socket.Writer {
  readonly isDoneOnceWritten: true
}

/** Whether the memory of what was written may be used again. Of a socket that says nothing, it may still be read from it. */
export const isFinishing = (writer: Socket.Writer): writer is Finishing => "isDoneOnceWritten" in writer

export class Outbox {
  /** Where messages are written. After each `pushed` is to be called. */
  readonly bytes = new Bytes()
  private wake: (() => void) | undefined
  private scheduled = false
  private pendingMessages = 0
  private writingBytes = 0
  private readonly isEnough: (messages: number) => boolean

  /** Where so few messages are not enough, it is waited for a turn of the event loop whether more come up. */
  constructor(isEnough: (messages: number) => boolean = () => true) {
    this.isEnough = isEnough
  }

  private readonly awaitMessages = Effect.callback<void>((resume) => {
    if (this.bytes.size > 0) return resume(Effect.void)
    this.wake = () => resume(Effect.void)
    return Effect.sync(() => {
      this.wake = undefined
    })
  })

  /** How many bytes of what was pushed have not been written whole. */
  get unsentBytes(): number {
    return this.bytes.size + this.writingBytes
  }

  /** A message was written into the bytes: it is sent soon. */
  pushed(): void {
    this.pendingMessages++
    if (this.wake === undefined) return
    if (this.bytes.size >= flushBytes) return this.flush()
    if (this.scheduled) return
    this.scheduled = true
    queueMicrotask(this.flushScheduled)
  }

  private readonly flushScheduled = () => {
    this.scheduled = false
    this.flush()
  }

  private flush(): void {
    const wake = this.wake
    this.wake = undefined
    wake?.()
  }

  /** Writes what is pushed, by `write`, until that fails; after each write says so. `reuses` says that `write` needs it no more then. */
  run<E>(
    write: (blocks: NonEmptyReadonlyArray<Uint8Array>) => Effect.Effect<void, E>,
    { reuses = false, written = () => {} }: { readonly reuses?: boolean; readonly written?: () => void } = {}
  ): Effect.Effect<never, E> {
    const writeAll = Effect.suspend(() => {
      this.writingBytes = this.bytes.size
      this.pendingMessages = 0
      return write(this.bytes.take())
    })
    const wrote = Effect.sync(() => {
      this.writingBytes = 0
      if (reuses) this.bytes.done()
      written()
    })
    const gather = Effect.suspend(() => this.isEnough(this.pendingMessages) ? Effect.void : Effect.yieldNow)
    return Effect.forever(
      this.awaitMessages.pipe(Effect.andThen(gather), Effect.andThen(writeAll), Effect.andThen(wrote)),
      { disableYield: true }
    )
  }
}
