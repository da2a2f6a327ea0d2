/**
 * A queue of values, each under a key. Adding one, and removing one from any place, take the same time however long the
 * queue is.
 *
 * A Map keeps the order too, but to find its first entry V8 walks over all that were deleted before it.
 */
interface Place<A> {
  readonly value: A
  previous: Place<A> | undefined
  next: Place<A> | undefined
}

/** A queue of values, each under a key. */
export class LinkedMap<A> {
  private readonly places = new Map<string, Place<A>>()
  private head: Place<A> | undefined
  private tail: Place<A> | undefined

  /** The value that was added first, of the values that are still there. */
  get first(): A | undefined {
    // mutant: first-come-first-served
    return this.head?.value
  }

  /** The values in their order. None is to be removed meanwhile. */
  *[Symbol.iterator](): Generator<A, void> {
    for (let place = this.head; place !== undefined; place = place.next) yield place.value
  }

  /** The value under a key. */
  get(key: string): A | undefined {
    return this.places.get(key)?.value
  }

  /** Adds a value at the end, under a key that is not in use. */
  add(key: string, value: A): void {
    const place: Place<A> = { value, previous: this.tail, next: undefined }
    if (this.tail === undefined) this.head = place
    else this.tail.next = place
    this.tail = place
    this.places.set(key, place)
  }

  /** Removes a value, unless it is gone already: its key may be in use for another by now. */
  remove(key: string, value: A): void {
    const place = this.places.get(key)
    if (place?.value !== value) return
    this.places.delete(key)
    if (place.previous === undefined) this.head = place.next
    else place.previous.next = place.next
    if (place.next === undefined) this.tail = place.previous
    else place.next.previous = place.previous
    // One that is old would keep all alive that came after it.
    place.previous = place.next = undefined
  }
}
