/**
 * What the server tells a page that watches: each event of the stream by its name.
 *
 * All times are of the server's clock, in milliseconds since 1970, and each event says when it was by that clock: the page
 * compares none with the clock of its own machine.
 */

/** A name that is held, as the list shows it: of several holders the one that ends first. */
export interface Row {
  readonly name: string
  readonly held: number
  readonly waiting: number
  readonly limit?: string
  readonly label?: string
  readonly since?: number
  /** When it ends, unless it is renewed; not there where the store cannot tell. */
  readonly endsAt?: number
  readonly fence?: string
  /** Why it was revoked, where it was. */
  readonly revoked?: string
}

/** Names that are held: all that changed since the event before. */
export interface NamesTold {
  readonly now: number
  /** Whether what was told before is void. */
  readonly isWhole: boolean
  readonly rows: ReadonlyArray<Row>
  /** Names that are held no more. */
  readonly gone: ReadonlyArray<string>
  /** Whether there are more than the page is told of. */
  readonly isCut: boolean
}

/** What happened within one second. */
export interface Point {
  /** Since 1970, in seconds. */
  readonly second: number
  readonly taken: number
  readonly ended: number
  /** The longest wait of a lock that was taken, in milliseconds. */
  readonly longestWait: number
  /** How many waited when it was looked; not there where nobody looked. */
  readonly waiting?: number
}

/** Seconds that were not told yet, or not as they are now. */
export interface RatesTold {
  readonly now: number
  readonly points: ReadonlyArray<Point>
  /** Whether the server keeps a history: else it is not known what was taken and ended. */
  readonly isKnown: boolean
}

/** What the server is, and what it can do. */
export interface ServerTold {
  readonly id: string
  /** Whether it knows all who wait: no other server shares its store. */
  readonly isAlone: boolean
  readonly canList: boolean
  readonly canRevoke: boolean
  readonly canLog: boolean
  /** Of several servers that have a share of the names each, which it is. */
  readonly shard?: string
}

/** One who holds a name. */
export interface HolderTold {
  readonly label?: string
  readonly since?: number
  readonly endsAt?: number
  readonly weight?: string
  readonly fence?: string
  readonly revoked?: string
}

/** One who waits for a name. */
export interface WaiterTold {
  readonly label?: string
  readonly since: number
  readonly weight?: string
}

/** What is public of one name. */
export interface NameTold {
  readonly now: number
  readonly limit?: string
  /** How many hold it. */
  readonly held: number
  /** The first of those who hold it. */
  readonly holders: ReadonlyArray<HolderTold>
  readonly waiting: number
  /** The first of those who wait, in the order in which they are served. */
  readonly waiters: ReadonlyArray<WaiterTold>
}

/** Something that happened to a name. */
export interface EventTold {
  readonly number: string
  readonly at: number
  readonly event: string
  readonly label?: string
  readonly fence?: string
  readonly weight?: string
  readonly millis?: number
  readonly who?: string
  readonly reason?: string
}

/** What happened to the name since the event before, the oldest first. */
export interface EventsTold {
  readonly events: ReadonlyArray<EventTold>
}

/** Something cannot be told now. `undefined` takes it back. */
export interface ProblemTold {
  readonly problem?: string
}

/** Each event of the stream. */
export interface Told {
  readonly server: ServerTold
  readonly names: NamesTold
  readonly rates: RatesTold
  readonly name: NameTold
  readonly events: EventsTold
  readonly problem: ProblemTold
}

/** What a revocation is asked with, as JSON. */
export interface Revoking {
  readonly name: string
  /** The tenure that is meant. */
  readonly fence?: string
  /** The identity of the admin, by its name. */
  readonly identity: string
  readonly proof: string
  readonly reason: string
  readonly force: boolean
}

/** What became of a revocation. */
export interface RevokingDone {
  readonly isDone: boolean
  /** For the one who asked. */
  readonly says: string
}
