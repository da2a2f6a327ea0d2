/**
 * The last events, in places that were made once and are written over.
 *
 * An object for each event would live for as long as thousands of others come, and so grow old: what is old V8 takes away only
 * with the whole heap, and each event would cost many times what it costs to write it down. So numbers are kept in arrays of
 * numbers, and the characters of its texts one behind the other in one more, all of them rings.
 */
import type { EventKind } from "../protocol/Protocol.ts"
import type { Limit, Weight } from "../store/Store.ts"

/** Something that has happened to a name. What is not known of it is not there. */
export interface Event {
  event: EventKind
  name: string
  /** What the holder says of itself. */
  label?: string | undefined
  /** The number of its tenure. */
  fence?: bigint | undefined
  /** What the weights of the holders of the name may be together; not there of a mutex. */
  limit?: Limit | undefined
  /** How much of the limit it takes; not there of a mutex. */
  weight?: Weight | undefined
  /** How long it was waited for, or held, in milliseconds. */
  millis?: number | undefined
  /** Who has revoked it, or was refused to: the name of an identity. */
  who?: string | undefined
  /** Why. */
  reason?: string | undefined
}

/** An event that is kept. */
export interface Kept extends Event {
  /** Grows by one with each event. */
  readonly number: number
  /** Milliseconds since 1970. */
  readonly at: number
}

const kinds: ReadonlyArray<EventKind> = ["Taken", "Released", "Expired", "Lost", "Revoked", "Refused", "Deadlock"]

// What is of one event stands together, so that it is at hand at once.

/** When it was, how long it was waited for or held, the limit of the name and the weight. */
const numbers = 4

/**
 * Where its characters begin; the lengths of its name, label, who and reason, of the last three one more than that, and 0 for
 * none; and which event it is, and whether it has a fence.
 */
const counts = 6
const texts = 4

/** Of its fence 64 bits, and the rest. */
const fences = 2

// In arrays of numbers: what is not there, and what is no number.
const none = -1
const noNumber = -2

const ofFence = 64n
const beyond = 2n ** ofFence

/** With so many it begins: what is written over and over is to be at hand for the processor. */
const fewCharacters = 2 ** 17

/** At a time no more characters are made a text than a call may have arguments. */
const atATime = 4096

/** Of so many characters a text is made sooner one by one. */
const short = 32

/** The events that were noted last. */
export class EventRing {
  private readonly places: number
  private readonly numbers: Float64Array
  private readonly counts: Uint32Array
  private readonly fences: BigUint64Array
  private characters: Uint16Array
  /** Of a power of two: where the ring of characters goes round. */
  private mask: number
  private readonly mostCharacters: number
  private used = 0
  private end = 0
  private place = 0
  /** The number of the next event, and of the oldest that is there. */
  next = 1
  first = 1

  /**
   * Keeps at the most so many events, whose texts have at the most so many bytes, at two for each character. There is room for
   * `few` characters until more are needed: a power of two.
   */
  constructor(maxEvents: number, maxBytes: number, few = fewCharacters) {
    this.places = Math.max(1, Math.floor(maxEvents))
    this.numbers = new Float64Array(this.places * numbers)
    this.counts = new Uint32Array(this.places * counts)
    this.fences = new BigUint64Array(this.places * fences)
    const room = Math.min(Math.max(1, Math.floor(maxBytes / 2)), 2 ** 30)
    this.mostCharacters = 2 ** Math.floor(Math.log2(room))
    this.characters = new Uint16Array(Math.min(this.mostCharacters, few))
    this.mask = this.characters.length - 1
  }

  /** Keeps an event, in the place of the oldest ones. One that has more characters than all together may is not kept. */
  write(at: number, event: Event): void {
    const { fence, label, limit, millis, name, reason, weight, who } = event
    const length = name.length + lengthOf(label) + lengthOf(who) + lengthOf(reason)
    if (this.next - this.first >= this.places) this.forget()
    if (this.used + length > this.mask + 1) this.makeRoom(length)
    const { place } = this
    this.place = place + 1 === this.places ? 0 : place + 1
    this.next++
    if (length > this.mask + 1) {
      this.first = this.next
      return
    }
    const number = place * numbers
    this.numbers[number] = at
    this.numbers[number + 1] = millis ?? none
    this.numbers[number + 2] = limit === undefined ? none : limit === "shared" ? noNumber : limit
    this.numbers[number + 3] = weight === undefined ? none : weight === "all" ? noNumber : weight
    if (fence !== undefined) {
      this.fences[place * fences] = fence
      this.fences[place * fences + 1] = fence < beyond ? 0n : fence >> ofFence
    }
    this.used += length
    const count = place * counts
    this.counts[count] = this.end
    this.counts[count + 1] = name.length
    this.copy(name)
    this.counts[count + 2] = this.copyIfThere(label)
    this.counts[count + 3] = this.copyIfThere(who)
    this.counts[count + 4] = this.copyIfThere(reason)
    this.counts[count + 5] = kinds.indexOf(event.event) * 2 + (fence === undefined ? 0 : 1)
  }

  /** Whether the name of an event begins so. */
  isUnder(number: number, prefix: string): boolean {
    const place = this.placeOf(number)
    if (this.counts[place * counts + 1]! < prefix.length) return false
    const begin = this.counts[place * counts]!
    for (let i = 0; i < prefix.length; i++) {
      if (this.characters[(begin + i) & this.mask] !== prefix.charCodeAt(i)) return false
    }
    return true
  }

  /** An event that is there: from `first` on, before `next`. */
  read(number: number): Kept {
    const place = this.placeOf(number)
    const count = place * counts
    let from = this.counts[count]!
    const textOf = (i: number): string | undefined => {
      const length = this.counts[count + 1 + i]! - (i === 0 ? 0 : 1)
      if (length < 0) return undefined
      from += length
      return this.textFrom(from - length, length)
    }
    const [name, label, who, reason] = [textOf(0)!, textOf(1), textOf(2), textOf(3)]
    const first = place * numbers
    const [millis, limit, weight] = [this.numbers[first + 1], this.numbers[first + 2], this.numbers[first + 3]]
    const kind = this.counts[count + 5]!
    return {
      number,
      at: this.numbers[first]!,
      event: kinds[kind >> 1]!,
      name,
      label,
      fence: kind % 2 === 0 ? undefined : this.fenceAt(place),
      limit: limit === none ? undefined : limit === noNumber ? "shared" : limit,
      weight: weight === none ? undefined : weight === noNumber ? "all" : weight,
      millis: millis === none ? undefined : millis,
      who,
      reason
    }
  }

  /** How many characters the texts of an event have. */
  sizeOf(number: number): number {
    return this.sizeAt(this.placeOf(number))
  }

  /** Of texts: there is more of it, or the oldest events go. */
  private makeRoom(length: number): void {
    while (this.used + length > this.mask + 1 && this.mask + 1 < this.mostCharacters) this.grow()
    while (this.first < this.next && this.used + length > this.mask + 1) this.forget()
  }

  private grow(): void {
    const { characters, end, mask, used } = this
    this.characters = new Uint16Array(2 * characters.length)
    this.mask = this.characters.length - 1
    // All from one place to another, where those of each event stay one behind the other.
    const from = end - used
    for (let i = 0; i < used; i++) this.characters[i] = characters[(from + i) & mask]!
    this.end = used
    for (let number = this.first; number < this.next; number++) {
      const count = this.placeOf(number) * counts
      this.counts[count] = (this.counts[count]! - from) & mask
    }
  }

  private forget(): void {
    this.used -= this.sizeAt(this.placeOf(this.first++))
  }

  private sizeAt(place: number): number {
    const count = place * counts
    const lengthOf = (i: number) => Math.max(this.counts[count + 1 + i]!, 1)
    return this.counts[count + 1]! + lengthOf(1) + lengthOf(2) + lengthOf(3) - (texts - 1)
  }

  private placeOf(number: number): number {
    const place = this.place - (this.next - number)
    return place < 0 ? place + this.places : place
  }

  private fenceAt(place: number): bigint {
    const [fence, above] = [this.fences[place * fences]!, this.fences[place * fences + 1]!]
    return above === 0n ? fence : (above << ofFence) + fence
  }

  private copyIfThere(text: string | undefined): number {
    if (text === undefined) return 0
    this.copy(text)
    return text.length + 1
  }

  private copy(text: string): void {
    const { characters, end, mask } = this
    for (let i = 0; i < text.length; i++) characters[(end + i) & mask] = text.charCodeAt(i)
    this.end = (end + text.length) & mask
  }

  private textFrom(from: number, length: number): string {
    let text = ""
    if (length <= short) {
      for (let i = 0; i < length; i++) text += String.fromCharCode(this.characters[(from + i) & this.mask]!)
      return text
    }
    for (let i = 0; i < length;) {
      const begin = (from + i) & this.mask
      const count = Math.min(length - i, this.characters.length - begin, atATime)
      text += String.fromCharCode(...this.characters.subarray(begin, begin + count))
      i += count
    }
    return text
  }
}

const lengthOf = (text: string | undefined): number => text === undefined ? 0 : text.length
