/**
 * Faults put into the code on purpose, one at a time: each must be seen by the
 * simulation. A patch must fit its file in exactly one place.
 */
export interface Mutation {
  readonly name: string
  /** Below `src`. */
  readonly file: string
  readonly from: string
  readonly to: string
  /** Whether it matters only over a store across a network. */
  readonly far?: boolean
}

const ownerCheck = "if (entry !== undefined && (entry.owner !== ID || entry.identity !== identity)) {"
const withoutOwnerCheckOf = (action: string): Pick<Mutation, "file" | "from" | "to"> => ({
  file: "server/LockServer.ts",
  from: ownerCheck,
  to: ownerCheck.replace("if (", `if (request.Action !== "${action}" && `)
})

export const mutations: ReadonlyArray<Mutation> = [
  { name: "anybody can unlock", ...withoutOwnerCheckOf("Unlock") },
  { name: "anybody can lock", ...withoutOwnerCheckOf("Lock") },
  { name: "anybody can erase", ...withoutOwnerCheckOf("Erase") },
  { name: "anybody can put", ...withoutOwnerCheckOf("Put") },
  {
    name: "an unlock is answered, and not done",
    file: "server/LockServer.ts",
    from: `{ answer: { Status: "Unlocked", ID }, change: remove }`,
    to: `{ answer: { Status: "Unlocked", ID }, change: keep }`
  },
  {
    name: "a test of the lock renews it",
    file: "server/LockServer.ts",
    from: `return answerOnly(entry === undefined ? { Status: "Unlocked" } : { Status: "Locked", ID })`,
    to: `return entry === undefined ? answerOnly({ Status: "Unlocked" })
        : { answer: { Status: "Locked", ID }, change: hold(request, identity, entry.data) }`
  },
  {
    name: "a renewal forgets the data",
    file: "server/LockServer.ts",
    from: "change: hold(request, identity, entry?.data) }",
    to: "change: hold(request, identity, undefined) }"
  },
  {
    name: "a claim that was withdrawn is granted, and kept",
    file: "server/LockServer.ts",
    from: `if (request.Action === "Unlock") queue.withdraw(request, identity)`,
    to: ""
  },
  {
    name: "what was renewed by a grant that nobody waits for is taken back",
    file: "server/LockServer.ts",
    from: "began !== granted ? Effect.void : Effect.map(",
    to: "began === undefined ? Effect.void : Effect.map(",
    far: true
  },
  {
    name: "an unlock withdraws no claim that came from before it",
    file: "server/LockServer.ts",
    from: "Effect.tap(attempt, Effect.sync(() => queue.withdraw(request, identity)))",
    to: "attempt",
    far: true
  },
  {
    name: "the queue grants to all who wait",
    file: "server/WaitQueue.ts",
    from: "if (claim.waiters > 0) return Deferred.succeed(claim.answer, outcome.answer)",
    to: `for (let one = queue.claims.first; one !== undefined; one = queue.claims.first) {
        drop(queue, one)
        Deferred.doneUnsafe(one.answer, Effect.succeed({ ...outcome.answer, ID: one.request.ID } as Response))
      }
      if (claim.waiters > 0) return Deferred.succeed(claim.answer, outcome.answer)`
  },
  {
    name: "whoever waits is not told that the name was freed",
    file: "server/WaitQueue.ts",
    from: "freed: (name) => void queues.get(name)?.changed.openUnsafe()",
    to: "freed: () => {}"
  },
  {
    name: "entries end by the wall clock",
    file: "store/Store.ts",
    from: "const now = () => monotonicMillisUnsafe(clock)",
    to: "const now = () => clock.currentTimeMillisUnsafe()"
  },
  {
    name: "an entry lives on after its end",
    file: "store/Store.ts",
    from: "if (held?.entry !== undefined && held.expiresAt <= at) free(held, at)",
    to: "if (held?.entry !== undefined && held.expiresAt + 300 <= at) free(held, at)"
  },
  {
    name: "an entry ends early",
    file: "store/Store.ts",
    from: "write(name, held, change.entry, at + change.ttlMillis)",
    to: "write(name, held, change.entry, at + change.ttlMillis * 0.8)"
  },
  {
    name: "a renewal does not extend",
    file: "store/Store.ts",
    from: `      held.entry = entry
      held.expiresAt = expiresAt
    }`,
    to: `      if (held.entry === undefined) held.expiresAt = expiresAt
      held.entry = entry
    }`
  },
  {
    name: "fences begin anew after a restart",
    file: "store/Store.ts",
    from: "let lastRevision = clock.currentTimeNanosUnsafe()",
    to: "let lastRevision = 0n"
  },
  {
    name: "a new tenure has the fence of the last one",
    file: "store/Store.ts",
    from: "if (held.entry === undefined) held.fence = revision",
    to: ""
  },
  {
    name: "a renewal raises the fence",
    file: "store/Store.ts",
    from: "if (held.entry === undefined) held.fence = revision",
    to: "held.fence = revision"
  },
  {
    name: "names are granted within the grace after a restart",
    file: "store/Store.ts",
    from: "if (held?.entry === undefined && at < graceUntil) {",
    to: "if (at < 0) {"
  },
  {
    name: "the guard takes older fences",
    file: "fence/Fence.ts",
    from: "if (before !== undefined && before.fence > fence) {",
    to: "if (before !== undefined && before.fence < 0n) {"
  },
  {
    name: "an answer goes to the request that waits longest",
    file: "transport/Connection.ts",
    from: "const pending = this.pending.get(Seq)",
    to: "const pending = this.pending.values().next().value"
  },
  {
    name: "the number of a request that was given up is used again",
    file: "transport/Connection.ts",
    from: "const Seq = String(++this.lastSeq)",
    to: "const Seq = String(this.pending.size + 1)"
  },
  {
    name: "a connection that ends tells nobody",
    file: "transport/Connection.ts",
    from:
      "for (const { request, resume } of waiting) resume(Effect.fail(failure(request, reason, { cause, received })))",
    to: "void [waiting, reason, cause, received]"
  },
  {
    name: "a connection that was lost is not made anew",
    file: "transport/Talker.ts",
    from: `            connecting = undefined
`,
    to: ""
  },
  {
    name: "the beginning of a line that came in parts is lost",
    file: "protocol/Framer.ts",
    from: "lines.push(withoutCarriageReturn(this.pending()))",
    to: "lines.push(withoutCarriageReturn(part))"
  },
  {
    name: "another's grant is taken for one's own",
    file: "client/Locker.ts",
    from: "response.ID !== undefined && response.ID !== request.ID",
    to: `response.ID === ""`
  },
  {
    name: "each request for a lock is of a new owner",
    file: "client/Locker.ts",
    from: `const request = this.request("Lock")`,
    to: `this.current = \`\${this.owner}.\${++this.tenures}\`
      const request = this.request("Lock")`
  },
  {
    name: "a new tenure has the owner of the last one",
    file: "client/Locker.ts",
    from: "if (!this.settings.fixedId) this.current = `${this.owner}.${++this.tenures}`",
    to: ""
  },
  {
    name: "what may have been granted is not given back",
    file: "client/Locker.ts",
    from: "mayHaveBeenGranted(exit) && !heldBefore ? this.withdraw : Effect.void",
    to: "mayHaveBeenGranted(exit) && !heldBefore ? Effect.void : Effect.void"
  },
  {
    name: "a lease lasts from the answer",
    file: "client/Lease.ts",
    from: "this.deadline = grant.sentAt + this.ttl - this.margin",
    to: "this.deadline = this.now() + this.ttl - this.margin"
  },
  {
    name: "a renewal lasts from the answer",
    file: "client/Lease.ts",
    from: "this.deadline = grant.value.sentAt + this.ttl - this.margin",
    to: "this.deadline = this.now() + this.ttl - this.margin"
  },
  {
    name: "a lease goes on after its deadline",
    file: "client/Lease.ts",
    from: `this.lose("Expired", cause)`,
    to: "void cause"
  },
  {
    name: "a renewal that was refused is ignored",
    file: "client/Lease.ts",
    from: `if (outcome.failure._tag === "NotOwner") return this.lose("Refused", cause)`,
    to: ""
  },
  {
    name: "a renewal that began another tenure is taken for one",
    file: "client/Lease.ts",
    from: "if (isAnotherTenure(grant.value.fence, this.fence)) {",
    to: "if (this.ttl < 0) {"
  },
  {
    name: "a lease is not given back",
    file: "client/Lease.ts",
    from: "this.ours ? giveBack : this.locker.internal.endTenure",
    to: "this.ttl < 0 ? giveBack : this.locker.internal.endTenure"
  }
]

/** The source with the fault in it. */
export const mutate = ({ from, name, to }: Mutation, source: string): string => {
  const parts = source.split(from)
  if (parts.length !== 2) throw new Error(`"${name}" fits its file in ${parts.length - 1} places`)
  return parts.join(to)
}
