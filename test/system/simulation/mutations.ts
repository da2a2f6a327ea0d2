/**
 * Faults put into the code on purpose, one at a time: each must be seen by the simulation.
 *
 * A comment in the sources, `// mutant: owner-check`, marks what a mutation changes: all that begins right behind it, a
 * statement, a property, or an argument. It is found in whatever file it is, and however the code is laid out.
 */
import * as fs from "node:fs"
import * as path from "node:path"
import { parseSync } from "rolldown/utils"

export interface Mutation {
  readonly name: string
  readonly mark: string
  /** The part of the marked code that is replaced, which must be there once. By default all of it. */
  readonly part?: string
  readonly by: string
  /** Whether it matters only over a store across a network. */
  readonly far?: boolean
  /** Whether it matters only where names have limits. */
  readonly permits?: boolean
}

const withoutOwnerCheckOf = (action: string): Pick<Mutation, "mark" | "part" | "by"> => ({
  mark: "owner-check",
  part: "if (",
  by: `if (request.Action !== "${action}" && `
})

/** Faults with names that several hold. */
const ofPermits: ReadonlyArray<Omit<Mutation, "permits">> = [
  { name: "a weight is not counted", mark: "weights-count", part: "sum + Number(holder.weight)", by: "sum + 1" },
  {
    name: "a writer enters beside readers",
    mark: "writer-alone",
    part: "(weight === 1 || holders.length === 0)",
    by: "holders.length >= 0"
  },
  {
    name: "a reader enters beside a writer",
    mark: "writer-alone",
    part: `holders.every((holder) => holder.weight !== "all")`,
    by: "holders.length >= 0"
  },
  {
    name: "a light one passes the first that waits",
    mark: "behind-those-who-wait",
    by: "const isNew = entry === undefined"
  },
  {
    name: "a renewal extends all holders",
    mark: "renews-its-own",
    part: "one === mine ? renewed : one",
    by: "one === mine ? renewed : { ...one, endsIn: Math.max(one.endsIn, renewed.endsIn) }"
  },
  {
    name: "a renewal does not extend its holder",
    mark: "renews-its-own",
    part: "one === mine ? renewed : one",
    by: "one"
  },
  { name: "a holder lives on after its end", mark: "holder-ends", part: "left > 0", by: "left > -300" },
  { name: "a holder ends early", mark: "holder-ends", part: "left > 0", by: "left > 300" },
  {
    name: "one more holder ends those before",
    mark: "others-hold-on",
    part: "[...permits.holders, holder]",
    by: "[holder]"
  },
  {
    name: "the end of one holder ends all",
    mark: "ends-its-own",
    part: "permits.holders.filter((one) => one !== holder)",
    by: "permits.holders.filter((one) => one === undefined && one !== holder)"
  },
  { name: "a holder with another limit is let in", mark: "other-limit-conflicts", by: "" },
  {
    name: "another limit is taken for a name that is held",
    mark: "other-limit-conflicts",
    part: "keep(conflict(permits.limit))",
    by: "notOwner"
  },
  {
    name: "a renewal with another weight is granted",
    mark: "other-weight-conflicts",
    part: "asked.weight !== mine.weight",
    by: "mine.weight === 0"
  },
  {
    name: "a holder gets a new fence by a renewal",
    mark: "holder-keeps-fence",
    part: "fence === undefined ? {} : { fence }",
    by: "fence === undefined || isRenewed === true ? {} : { fence }"
  },
  {
    name: "one that passed its tenure on has it still",
    mark: "giver-ends",
    part: "permits.holders.filter((one) => one !== giver)",
    by: "permits.holders"
  },
  {
    name: "a grant that is not waited for takes another holder with it",
    mark: "take-back-its-own",
    part: "entry.holders.find(({ fence }) => fence === granted)",
    by: "granted === undefined ? undefined : entry.holders[0]",
    far: true
  },
  {
    name: "a grant among others that is not waited for is kept",
    mark: "take-back-its-own",
    part: "fence === granted",
    by: "fence === granted && fence === 0n",
    far: true
  },
  { name: "the first that waits keeps its turn when it has gone", mark: "turn-is-given-up", by: "", far: true }
]

const ofMutexes: ReadonlyArray<Mutation> = [
  { name: "anybody can unlock", ...withoutOwnerCheckOf("Unlock") },
  { name: "anybody can lock", ...withoutOwnerCheckOf("Lock") },
  { name: "anybody can erase", ...withoutOwnerCheckOf("Erase") },
  { name: "anybody can put", ...withoutOwnerCheckOf("Put") },
  { name: "an unlock is answered, and not done", mark: "unlock-frees", part: "change: remove", by: "change: keep" },
  {
    name: "a test of the lock renews it",
    mark: "test-changes-nothing",
    by: `return entry === undefined ? answerOnly({ Status: "Unlocked" })
        : { answer: { Status: "Locked", ID }, change: hold(request, identity, entry.data) }`
  },
  { name: "a renewal forgets the data", mark: "renewal-keeps-data", part: "entry?.data", by: "undefined" },
  { name: "a claim that was withdrawn is granted, and kept", mark: "unlock-withdraws", by: "" },
  {
    name: "what was renewed by a grant that is not waited for is taken back",
    mark: "take-back-own-grant",
    part: "began !== granted",
    by: "began === undefined",
    far: true
  },
  {
    name: "the queue grants to all who wait",
    mark: "grant-to-one",
    by: `for (let one: Claim | undefined = claim; one !== undefined; one = queue.claims.first) {
        this.drop(queue, one)
        for (const waiter of one.waiters) waiter.answer({ ...outcome.answer, ID: one.request.ID } as Response)
      }`
  },
  { name: "waiters are not told that the name was freed", mark: "tell-freed", by: "" },
  {
    name: "entries end by the wall clock",
    mark: "monotonic-expiry",
    part: "monotonicMillisUnsafe(clock)",
    by: "clock.currentTimeMillisUnsafe()"
  },
  {
    name: "an entry lives on after its end",
    mark: "entry-ends",
    part: "stored.expiresAt",
    by: "stored.expiresAt + 300"
  },
  { name: "an entry ends early", mark: "entry-lasts", part: "ttlMillis", by: "ttlMillis * 0.8" },
  {
    name: "a renewal does not extend",
    mark: "renewal-extends",
    by: "if (stored.fence === revision) stored.expiresAt = expiresAt"
  },
  {
    name: "fences begin anew after a restart",
    mark: "fences-go-on",
    part: "clock.currentTimeNanosUnsafe()",
    by: "0n"
  },
  { name: "a new tenure has the fence of the last one", mark: "fence-of-tenure", by: "" },
  { name: "a renewal raises the fence", mark: "fence-of-tenure", by: "stored.fence = revision" },
  {
    name: "names are granted within the grace after a restart",
    mark: "restart-grace",
    part: "at < graceUntil",
    by: "at < 0"
  },
  {
    name: "the guard takes older fences",
    mark: "refuse-older-fence",
    part: "before.fence > fence",
    by: "before.fence < 0n"
  },
  { name: "the guard forgets who has read", mark: "reader-is-noted", by: "" },
  {
    name: "an answer goes to the request that waits longest",
    mark: "answer-by-number",
    part: "this.unanswered.get(number)",
    by: "Array.from(this.unanswered)[0]?.[1]"
  },
  {
    name: "the number of a request that was given up is used again",
    mark: "number-never-used-again",
    part: "this.last + 1",
    by: "1"
  },
  {
    name: "a connection that ends does not tell its waiters",
    mark: "end-told-to-waiters",
    by: "void [reason, cause, received]"
  },
  { name: "a connection that was lost is not made anew", mark: "connect-anew", by: "" },
  {
    name: "the beginning of a line that came in parts is lost",
    mark: "line-in-parts",
    part: "this.unfinished.take()",
    by: "(this.unfinished.clear(), part)"
  },
  {
    name: "the beginning of a frame that came in parts is lost",
    mark: "frame-in-parts",
    part: "unfinished.take().subarray(lengthBytes)",
    by: "unfinished.take().fill(0, lengthBytes, 2 * lengthBytes).subarray(lengthBytes)"
  },
  {
    name: "another's grant is taken for one's own",
    mark: "own-grant-only",
    part: "response.ID !== undefined && response.ID !== request.ID",
    by: `response.ID === ""`
  },
  {
    name: "each request for a lock is of a new owner",
    mark: "same-owner-asks-again",
    part: "attempt.owner",
    by: "attempt.terms.freshOwner()"
  },
  {
    name: "a new tenure has the owner of the last one",
    mark: "owner-of-tenure",
    part: "this.owners++",
    by: "this.owners"
  },
  {
    name: "what may have been granted is not given back",
    mark: "give-back-in-doubt",
    part: "attempt.isPending",
    by: `attempt.owner === ""`
  },
  { name: "a lease lasts from the answer", mark: "lease-from-request", part: "sentAt", by: "now" },
  { name: "a renewal lasts from the answer", mark: "renewal-from-request", part: "sentAt", by: "now" },
  { name: "a lease goes on after its deadline", mark: "deadline-is-loss", part: "state.deadline", by: "Infinity" },
  {
    name: "an answer after the deadline renews",
    mark: "deadline-is-loss",
    part: "now >= state.deadline",
    by: `now >= state.deadline && event._tag !== "Confirmed"`
  },
  {
    name: "a renewal means no tenure",
    mark: "renewal-by-fence",
    part: "isByFence ? this.fence_ : undefined",
    by: "undefined"
  },
  { name: "a session ends nothing", mark: "session-ends-earlier", by: "" },
  { name: "an heir has it as its old owner", mark: "heir-has-it", part: "{ ...request, ID: heir }", by: "request" },
  {
    name: "a body that ended after its deadline ended well",
    mark: "end-is-looked-at",
    part: "lease.isLost",
    by: `lease.isLost && exit._tag === "Failure"`
  },
  {
    name: "that a name is taken is told whatever was heard",
    mark: "taken-was-heard",
    part: "this.taken !== undefined || (!this.place.isInside && queue.wasTakenSince(startedAt))",
    by: "true"
  },
  { name: "the last that asks in a process comes first", mark: "line-in-order", part: "this.first", by: "this.last" },
  {
    name: "listeners are told of a loss before it is there",
    mark: "state-before-listeners",
    by: "if (state.phase !== before.phase) this.entered(before.phase, state)\n    this.machine = state"
  },
  {
    name: "an id of others is unlocked in doubt",
    mark: "shared-withdrawn-by-fence",
    part: `granted?.fence._tag === "Some" ? granted.fence.value : 0n`,
    by: "undefined"
  },
  { name: "a renewal that was refused is ignored", mark: "refused-is-lost", by: "return { state, actions: none }" },
  {
    name: "a renewal that began another tenure is taken for one",
    mark: "another-tenure-is-loss",
    part: "isSame(exit.value, { owner: this.id, fence: this.fence })",
    by: "this.settings.ttl > 0"
  },
  {
    name: "a lease is not given back",
    mark: "give-back",
    by: `const unlock = this.id === "" ? this.unlockShared : Effect.undefined; void until`
  }
]

export const mutations: ReadonlyArray<Mutation> = [
  ...ofMutexes,
  ...ofPermits.map((mutation): Mutation => Object.assign({ permits: true }, mutation))
]

/** A mark, and where the marked code begins and ends in its file. */
export interface Marked {
  readonly mark: string
  readonly file: string
  readonly source: string
  readonly start: number
  readonly end: number
}

const src = path.join(import.meta.dirname, "../../../src")

let known: ReadonlyArray<Marked> | undefined

/** All marks in the sources. They are read once. */
export const marks = (): ReadonlyArray<Marked> => known ??= marksIn(src)

const marksIn = (src: string): ReadonlyArray<Marked> =>
  fs.readdirSync(src, { recursive: true, encoding: "utf8" }).filter((file) => file.endsWith(".ts")).flatMap((name) => {
    const file = path.join(src, name)
    const source = fs.readFileSync(file, "utf8")
    if (!source.includes(comment)) return []
    const { comments, errors, program } = parseSync(file, source)
    if (errors.length > 0) throw new Error(`${name} is no TypeScript`)
    return comments.filter(({ value }) => value.startsWith(comment)).map(({ end, value }): Marked => {
      const mark = value.slice(comment.length).trim()
      const marked = outermost(program, end)
      return { mark, file, source, start: marked.start, end: marked.end }
    })
  })

const comment = " mutant: "

interface Node {
  readonly start: number
  readonly end: number
}

const isNode = (value: unknown): value is Node => typeof value === "object" && value !== null && "start" in value

/** Of the nodes that begin next after a place, the one that contains the others. */
const outermost = (node: object, after: number): Node => {
  let found: Node = { start: Infinity, end: Infinity }
  const visit = (value: unknown): void => {
    if (Array.isArray(value)) return value.forEach(visit)
    if (!isNode(value) || value.end <= after) return
    // What contains it is looked at before it.
    if (value.start >= after && value.start < found.start) found = { start: value.start, end: value.end }
    Object.values(value).forEach(visit)
  }
  Object.values(node).forEach(visit)
  return found
}

/** Finds code however it is laid out: white space between its words and signs does not count. */
const layoutOf = (code: string): RegExp =>
  new RegExp(Array.from(code.matchAll(/\w+|[^\w\s]/g), ([token]) => token.replace(/\W/, "\\$&")).join("\\s*"), "g")

/** The file of the mark, and its source with the fault in it. */
export const mutate = ({ by, mark, name, part }: Mutation): { readonly file: string; readonly source: string } => {
  const places = marks().filter((marked) => marked.mark === mark)
  if (places.length !== 1) throw new Error(`"${name}": the mark ${mark} is in ${places.length} places`)
  const { end, file, source, start } = places[0]!
  const code = source.slice(start, end)
  const parts = part === undefined ? [code] : Array.from(code.matchAll(layoutOf(part)), ([found]) => found)
  if (parts.length !== 1) throw new Error(`"${name}": its part is in the marked code ${parts.length} times:\n${code}`)
  return { file, source: source.slice(0, start) + code.replace(parts[0]!, () => by) + source.slice(end) }
}
