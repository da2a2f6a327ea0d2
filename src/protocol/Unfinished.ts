/**
 * The bytes of a message that has not come whole. Chunks are copied together: of a slow sender each would take far more
 * memory than its bytes.
 */
const empty = new Uint8Array(0)

/** What has come of a message. */
export class Unfinished {
  private buffer: Uint8Array = empty
  size = 0

  /** What has come, in place. */
  get bytes(): Uint8Array {
    return this.buffer.subarray(0, this.size)
  }

  append(part: Uint8Array): void {
    const size = this.size + part.length
    if (size > this.buffer.length) {
      const larger = new Uint8Array(Math.max(size, 2 * this.size))
      larger.set(this.bytes)
      this.buffer = larger
    }
    this.buffer.set(part, this.size)
    this.size = size
  }

  /** Gives it away, and begins anew in other memory. */
  take(): Uint8Array {
    const { bytes } = this
    this.clear()
    return bytes
  }

  clear(): void {
    this.buffer = empty
    this.size = 0
  }
}
