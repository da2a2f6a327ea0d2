/**
 * Those who stand in line, each under a key: whoever comes, or leaves from wherever in it, costs the same, however long
 * it is.
 *
 * A Map keeps the order too, but looking for its first entry V8 walks over all that were deleted before that.
 */
interface Place<A> {
  readonly value: A
  previous: Place<A> | undefined
  next: Place<A> | undefined
}

export class LinkedMap<A> {
  private readonly places = new Map<string, Place<A>>()
  private head: Place<A> | undefined
  private tail: Place<A> | undefined

  /** Whoever has stood in it for the longest time. */
  get first(): A | undefined {
    return this.head?.value
  }

  get(key: string): A | undefined {
    return this.places.get(key)?.value
  }

  /** Puts one at the end, under a key that nobody has. */
  add(key: string, value: A): void {
    const place: Place<A> = { value, previous: this.tail, next: undefined }
    if (this.tail === undefined) this.head = place
    else this.tail.next = place
    this.tail = place
    this.places.set(key, place)
  }

  /** Takes one out, unless it has gone: another may have its key by now. */
  remove(key: string, value: A): void {
    const place = this.places.get(key)
    if (place?.value !== value) return
    this.places.delete(key)
    if (place.previous === undefined) this.head = place.next
    else place.previous.next = place.next
    if (place.next === undefined) this.tail = place.previous
    else place.next.previous = place.previous
  }
}
