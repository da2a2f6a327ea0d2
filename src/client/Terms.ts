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

/** What a call may change. */
export interface Changes {
  readonly ttl: Duration.Duration
  readonly label: string | undefined
  readonly identity: Terms["identity"]
}

/** What the terms of very many names have in common: one object for those that are asked for alike, one after another. */
class Common {
  readonly talker: Talker["Service"]
  readonly owners: Owners
  /** What a call has changed, if one has. */
  readonly changes: Changes | undefined
  /** With what was changed last. */
  private changed: Common | undefined

  constructor(talker: Talker["Service"], owners: Owners, changes?: Changes) {
    this.talker = talker
    this.owners = owners
    this.changes = changes
  }

  /** The same, with what a call changes. */
  with(changes: Changes): Common {
    const last = this.changed
    return last?.changes !== undefined && isAlike(last.changes, changes)
      ? last
      : this.changed = new Common(this.talker, this.owners, changes)
  }
}

const isAlike = (one: Changes, other: Changes): boolean =>
  Duration.toMillis(one.ttl) === Duration.toMillis(other.ttl) && one.label === other.label &&
  one.identity?.Name === other.identity?.Name && one.identity?.Identity === other.identity?.Identity

// What was asked for last of each Talker: most is asked for like that again.
const lastOf = new WeakMap<Talker["Service"], Common>()

/** What is common to names of a Talker, with owners of their own. */
export const commonOf = (talker: Talker["Service"], owners: Owners): Common => {
  const last = lastOf.get(talker)
  if (last?.owners === owners) return last
  const common = new Common(talker, owners)
  lastOf.set(talker, common)
  return common
}

/** The terms of a name that is held by owners of its own, where its maker has said nothing else. */
abstract class PlainTerms extends Shown {
  readonly name: string
  protected readonly common: Common

  constructor(name: string, common: Common) {
    super()
    this.name = name
    this.common = common
  }

  /** The same terms, but for what is changed. */
  abstract with(changes: Changes): Terms

  toJSON(): unknown {
    return { _id: "effect-dlm/Terms", name: this.name }
  }
  get talker(): Talker["Service"] {
    return this.common.talker
  }
  get ttl(): Duration.Duration {
    return this.common.changes === undefined ? defaultTtl : this.common.changes.ttl
  }
  get ttlSeconds(): number {
    return Duration.toSeconds(this.ttl)
  }
  get given(): Given {
    return this.common.changes === undefined ? nothing : everything
  }
  get label(): string | undefined {
    return this.common.changes?.label
  }
  get sharedOwner(): undefined {
    return undefined
  }
  get identity(): Terms["identity"] {
    return this.common.changes?.identity
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
    return this.common.owners.next()
  }
}

/** The terms of a bare name, which is a mutex. */
export class NameTerms extends PlainTerms implements Terms<"exclusive"> {
  get problem(): InvalidOption | undefined {
    return invalidName(this.name)
  }
  get mode(): "exclusive" {
    return "exclusive"
  }
  get limit(): undefined {
    return undefined
  }

  with(changes: Changes): NameTerms {
    return new NameTerms(this.name, this.common.with(changes))
  }
}

/** The terms of a name that several may hold. */
export class LimitTerms<M extends Mode> extends PlainTerms implements Terms<M> {
  readonly mode: M
  readonly limit: Limit
  readonly problem: InvalidOption | undefined

  constructor(mode: M, limit: Limit, name: string, common: Common, problem?: InvalidOption) {
    super(name, common)
    this.problem = problem ?? invalidName(name)
    this.mode = mode
    this.limit = limit
  }

  with(changes: Changes): LimitTerms<M> {
    return new LimitTerms(this.mode, this.limit, this.name, this.common.with(changes), this.problem)
  }

  /** The claim of these terms. */
  get claim(): Claim<M> {
    return { name: this.name, [ClaimTypeId]: this }
  }
}

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
  return terms instanceof PlainTerms ? terms.with(changes) as Terms<M> : new ChangedTerms(terms, changes)
}
