/**
 * The terms of a bare name, and what a call may change in those of any claim.
 */
import * as Duration from "effect/Duration"
import * as Effect from "effect/Effect"
import * as Schedule from "effect/Schedule"
import { InvalidOption } from "../DlmError.ts"
import { Shown } from "../lib/Shown.ts"
import { maxNameBytes } from "../protocol/Protocol.ts"
import type { Talker } from "../transport/Talker.ts"
import { type Claim, ClaimTypeId, type Given, type Limit, type Mode, type Terms } from "./Claim.ts"
import * as DataCodec from "./DataCodec.ts"
import { kindOf } from "./kindOf.ts"
import type { Owners } from "./Owners.ts"

/** How long a lock or datum lives, unless it is said. */
export const defaultTtl = Duration.seconds(30)

/**
 * Asks again 7 times, after delays that double from 50 ms, jittered, up to 1 s.
 */
export const defaultRetry: Schedule.Schedule<unknown> = Schedule.exponential("50 millis").pipe(
  Schedule.jittered,
  Schedule.modifyDelay(({ duration }) => Effect.succeed(Duration.min(duration, Duration.seconds(1)))),
  Schedule.upTo({ times: 7 })
)

const utf8 = new TextEncoder()

const nameProblem = (name: unknown): string | undefined => {
  if (typeof name !== "string") return `must be a string, and is ${kindOf(name)}`
  if (name === "") return "must not be empty: all that is called nothing would be one lock"
  if (!name.isWellFormed()) return "must be whole text: half of a character stands alone in it"
  // No text takes more than three bytes for each of its UTF-16 units.
  if (name.length * 3 > maxNameBytes && utf8.encode(name).length > maxNameBytes) {
    return `must have at most ${maxNameBytes} bytes of UTF-8. A digest of what is longer will do`
  }
  return undefined
}

/** What is wrong with a name. */
export const invalidName = (name: unknown): InvalidOption | undefined => {
  const problem = nameProblem(name)
  return problem === undefined
    ? undefined
    : new InvalidOption({ name: typeof name === "string" ? name.slice(0, 64) : "", option: "name", problem })
}

const nothing: Given = { ttl: false, label: false, identity: false, group: false }
const everything: Given = { ttl: true, label: true, identity: true, group: true }

/** The terms of a name that is held by owners of its own, where its maker has said nothing else. */
abstract class PlainTerms extends Shown {
  readonly name: string
  readonly talker: Talker["Service"]
  readonly problem: InvalidOption | undefined
  protected readonly owners: Owners
  /** What a call has changed: the same object for very many that are asked for alike. */
  private readonly changes: Changes | undefined

  constructor(name: string, talker: Talker["Service"], owners: Owners, problem?: InvalidOption, changes?: Changes) {
    super()
    this.name = name
    this.talker = talker
    this.owners = owners
    this.problem = problem
    this.changes = changes
  }

  /** The same terms, but for what is changed. */
  abstract with(changes: Changes): Terms

  toJSON(): unknown {
    return { _id: "effect-dlm/Terms", name: this.name }
  }
  get ttl(): Duration.Duration {
    return this.changes === undefined ? defaultTtl : this.changes.ttl
  }
  get ttlSeconds(): number {
    return Duration.toSeconds(this.ttl)
  }
  get given(): Given {
    return this.changes === undefined ? nothing : everything
  }
  get label(): string | undefined {
    return this.changes?.label
  }
  get sharedOwner(): undefined {
    return undefined
  }
  get identity(): Terms["identity"] {
    return this.changes?.identity
  }
  get retry(): Schedule.Schedule<unknown> {
    return defaultRetry
  }
  get codec(): DataCodec.DataCodec {
    return DataCodec.wire
  }
  get origin(): object {
    return this
  }

  freshOwner(): string {
    return this.owners.next()
  }
}

/** The terms of a bare name, which is a mutex. */
export class NameTerms extends PlainTerms implements Terms<"exclusive"> {
  get mode(): "exclusive" {
    return "exclusive"
  }
  get limit(): undefined {
    return undefined
  }

  with(changes: Changes): NameTerms {
    return new NameTerms(this.name, this.talker, this.owners, this.problem, changes)
  }
}

/** The terms of a name that several may hold. */
export class LimitTerms<M extends Mode> extends PlainTerms implements Terms<M> {
  readonly mode: M
  readonly limit: Limit

  constructor(
    mode: M,
    limit: Limit,
    name: string,
    talker: Talker["Service"],
    owners: Owners,
    problem?: InvalidOption,
    changes?: Changes
  ) {
    super(name, talker, owners, problem ?? invalidName(name), changes)
    this.mode = mode
    this.limit = limit
  }

  with(changes: Changes): LimitTerms<M> {
    return new LimitTerms(this.mode, this.limit, this.name, this.talker, this.owners, this.problem, changes)
  }

  /** The claim of these terms. */
  get claim(): Claim<M> {
    return { name: this.name, [ClaimTypeId]: this }
  }
}

/** What a call may change. */
export interface Changes {
  readonly ttl: Duration.Duration
  readonly label: string | undefined
  readonly identity: Terms["identity"]
}

const isAlike = (one: Changes, other: Changes): boolean =>
  Duration.toMillis(one.ttl) === Duration.toMillis(other.ttl) && one.label === other.label &&
  one.identity?.Name === other.identity?.Name && one.identity?.Identity === other.identity?.Identity

// Most that is asked is changed as what was asked before.
let lastChanges: Changes | undefined

const shared = (changes: Changes): Changes =>
  lastChanges !== undefined && isAlike(lastChanges, changes) ? lastChanges : lastChanges = changes

/** Terms of a claim that has its own, with what a call has changed. */
class ChangedTerms<M extends Mode> extends Shown implements Terms<M> {
  private readonly of: Terms<M>
  readonly ttl: Duration.Duration
  readonly label: string | undefined
  readonly identity: Terms["identity"]

  constructor(of: Terms<M>, { identity, label, ttl }: Changes) {
    super()
    this.of = of
    this.ttl = ttl
    this.label = label
    this.identity = identity
  }

  toJSON(): unknown {
    return { _id: "effect-dlm/Terms", name: this.name }
  }
  get mode(): M {
    return this.of.mode
  }
  get name(): string {
    return this.of.name
  }
  get talker(): Talker["Service"] {
    return this.of.talker
  }
  get ttlSeconds(): number {
    return Duration.toSeconds(this.ttl)
  }
  get given(): Given {
    return everything
  }
  get group(): string | undefined {
    return this.of.group
  }
  get sharedOwner(): string | undefined {
    return this.of.sharedOwner
  }
  get limit(): Limit | undefined {
    return this.of.limit
  }
  get retry(): Schedule.Schedule<unknown> {
    return this.of.retry
  }
  get codec(): DataCodec.DataCodec {
    return this.of.codec
  }
  get origin(): object {
    return this.of.origin
  }
  freshOwner(): string {
    return this.of.freshOwner()
  }
}

/** The same terms, but for what is changed. */
export const changed = <M extends Mode>(terms: Terms<M>, changes: Changes): Terms<M> => {
  if (changes.ttl === terms.ttl && changes.label === terms.label && changes.identity === terms.identity) return terms
  return terms instanceof PlainTerms
    ? terms.with(shared(changes)) as Terms<M>
    : new ChangedTerms(terms, changes)
}
