/**
 * What the page asks the server of the locks, by the requests of the protocol: as a client that nobody trusts.
 */
import * as Clock from "effect/Clock"
import * as Effect from "effect/Effect"
import * as Redacted from "effect/Redacted"
import type { LoggedEvent, Request, Response } from "../../protocol/Protocol.ts"
import type { LockServer } from "../../server/LockServer.ts"
import type { NameTold, Revoking, RevokingDone, Row, ServerTold } from "./browser/Told.ts"
import { charactersOf, endOf, type Found, numberOf, rowOf, there } from "./Names.ts"

/** Answers requests. */
export type Handle = LockServer["Service"]["handle"]

const base = { ID: "", FileName: "", Expire: 0, Seq: "" } as const satisfies Partial<Request>

/** Something cannot be told, and why, for a person. */
export class CannotTell {
  readonly _tag = "CannotTell"
  readonly problem: string
  /** Whether it may be told later. */
  readonly isForNow: boolean

  constructor(problem: string, isForNow: boolean) {
    this.problem = problem
    this.isForNow = isForNow
  }
}

const cannot = (what: string, { Status }: Response): CannotTell =>
  Status === "NO"
    ? new CannotTell(`The store does not answer now: ${what} cannot be told. What is shown is of before.`, true)
    : Status === "BadAction"
    ? new CannotTell(`This server, or its store, cannot tell ${what}.`, false)
    : new CannotTell(`The server refuses to tell ${what} (${Status}).`, false)

/** What the server is, and what it can do. */
export const server = (handle: Handle): Effect.Effect<ServerTold> =>
  Effect.map(handle({ ...base, Action: "Version" }), (response) => {
    if (response.Status !== "Version") {
      return { id: "", isAlone: false, canList: false, canRevoke: false, canLog: false }
    }
    const features = new Set(response.Features?.split(","))
    const [shard] = response.Shards?.split("/") ?? []
    return {
      id: response.ID,
      isAlone: features.has("alone"),
      canList: features.has("list"),
      canRevoke: features.has("revoke"),
      canLog: features.has("log"),
      ...(shard === undefined ? {} : { shard })
    }
  })

/** The most names that a look takes in: a page that is told of more says so, and looks for less by its search. */
export const maxNames = 20_000

/** So often a list begins anew where the server has forgotten how far it was. */
const maxBeginnings = 3

/** The names that are held and begin so: the first of them, where they are too many or count for too many characters. */
export const names = Effect.fnUntraced(function*(
  handle: Handle,
  prefix: string,
  maxCharacters: number
): Effect.fn.Return<Found, CannotTell> {
  let rows = new Map<string, Row>()
  let characters = 0
  let after: string | undefined
  for (let beginnings = 1; rows.size < maxNames;) {
    const response = yield* handle({
      ...base,
      Action: "List",
      FileName: prefix,
      ...(after === undefined ? {} : { After: after })
    })
    if (response.Status === "NotFound" && after !== undefined && beginnings < maxBeginnings) {
      beginnings++
      rows = new Map()
      characters = 0
      after = undefined
      continue
    }
    if (response.Status !== "Listed") return yield* Effect.fail(cannot("which names are held", response))
    const now = yield* Clock.currentTimeMillis
    for (const listed of response.Names) {
      const row = rowOf(listed, now)
      characters += charactersOf(row)
      if (characters > maxCharacters) return { rows, isCut: true }
      rows.set(row.name, row)
    }
    after = response.After
    if (after === undefined) return { rows, isCut: false }
    // Other requests come between two pages.
    yield* Effect.yieldNow
  }
  return { rows, isCut: true }
})

/** So many holders of a name are told, as of those who wait the server describes: a name may have a thousand. */
const maxHolders = 100

/** What is public of a name, and which state that is. */
export interface Described {
  readonly told: NameTold
  readonly revision: string
}

/** What is public of a name: now, or once it is another state than this. */
export const describe = Effect.fnUntraced(function*(
  handle: Handle,
  name: string,
  known?: { readonly revision: string; readonly waitMillis: number }
): Effect.fn.Return<Described, CannotTell> {
  const response = yield* handle({
    ...base,
    Action: "Describe",
    FileName: name,
    ...(known === undefined ? {} : { Revision: known.revision, Wait: known.waitMillis })
  })
  if (response.Status !== "Described") return yield* Effect.fail(cannot("who holds this name", response))
  const now = yield* Clock.currentTimeMillis
  const { Holders, Limit, Revision, Waiters, Waiting } = response
  const told = {
    now,
    ...(Limit === undefined ? {} : { limit: Limit }),
    held: Holders.length,
    holders: Holders.slice(0, maxHolders).map(({ ExpiresIn, Fence, Label, Revoked, Since, Weight }) =>
      there({
        label: Label,
        since: numberOf(Since),
        endsAt: endOf(ExpiresIn, now),
        weight: Weight,
        fence: Fence,
        revoked: Revoked
      })
    ),
    waiting: Number(Waiting),
    waiters: Waiters.map(({ Label, Since, Weight }) => there({ label: Label, since: Number(Since), weight: Weight }))
  } as NameTold
  return { told, revision: Revision }
})

/** Some events, and where to go on. */
export interface Logged {
  readonly events: ReadonlyArray<LoggedEvent>
  readonly after: string
}

/** What has happened to names that begin so, from there on: at once, or once something has. */
export const log = Effect.fnUntraced(function*(
  handle: Handle,
  prefix: string,
  after: string | undefined,
  waitMillis: number
): Effect.fn.Return<Logged, CannotTell> {
  const response = yield* handle({
    ...base,
    Action: "Log",
    FileName: prefix,
    ...(after === undefined ? {} : { After: after }),
    ...(waitMillis > 0 ? { Wait: waitMillis } : {})
  })
  return response.Status === "Logged"
    ? { events: response.Events, after: response.After }
    : yield* Effect.fail(cannot("what has happened", response))
})

const saidOf = (asked: Revoking, response: Response): RevokingDone => {
  switch (response.Status) {
    case "Revoked":
      return {
        isDone: true,
        says: asked.force
          ? "Freed by force. Whoever held it may still be at work."
          : "Revoked. It is renewed no more, and the name stays taken until its end."
      }
    case "NotFound":
      return { isDone: false, says: "That tenure is over: nobody holds the name by it any more." }
    case "BadAction":
      return { isDone: false, says: "This server cannot revoke." }
    case "NO":
      return {
        isDone: false,
        says: "The store does not answer. Whether it was revoked is not known: look at the name, and try again."
      }
    default:
      return {
        isDone: false,
        says: "Refused: the identity is not proved or may not revoke, or the reason is empty or longer than 256 bytes."
      }
  }
}

/** Revokes a tenure, by the proof of whoever asks for it. */
export const revoke = (handle: Handle, asked: Revoking): Effect.Effect<RevokingDone> =>
  Effect.map(
    handle({
      ...base,
      Action: "Revoke",
      FileName: asked.name,
      Name: asked.identity,
      Identity: Redacted.make(asked.proof),
      Reason: asked.reason,
      ...(asked.fence === undefined ? {} : { Fence: asked.fence }),
      ...(asked.force ? { Force: true } : {})
    }),
    (response) => saidOf(asked, response)
  )
