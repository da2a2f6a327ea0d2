/**
 * Several ways to talk, each for a share of the names.
 *
 * - The server of a name is asked, and no other, whatever becomes of it: another one knows nothing of who holds the name.
 * - What one server fails with, its features included, is of no matter to the names of the others.
 */
import * as Context from "effect/Context"
import * as Effect from "effect/Effect"
import * as Result from "effect/Result"
import type { TalkError } from "../DlmError.ts"
import type { Feature, Request, Response, Shards } from "../protocol/Protocol.ts"
import * as Features from "./features.ts"
import type { Notice } from "./Notices.ts"

/**
 * Which server a Talker is for, and of which list (`NAME/DIGEST`): one over sockets tells each connection, and uses it only
 * where the server says the same.
 */
export const Shard: Context.Reference<string | undefined> = Context.Reference<string | undefined>(
  "effect-dlm/transport/Shard",
  { defaultValue: () => undefined }
)

type Telling = Effect.Effect<ReadonlySet<Feature>, TalkError>

/** What is needed of the Talker of one server. Not the service itself, whose file imports this one. */
interface One {
  readonly talk: (request: Request) => Effect.Effect<Response, TalkError>
  readonly features?: Telling | undefined
  readonly featuresOf?: ((name: string) => Telling) | undefined
  readonly isPrompt?: boolean | undefined
  readonly notices?: ((listener: (notice: Notice) => void) => () => void) | undefined
}

/** How long, in milliseconds, all servers are waited for where one of them may have something new. */
const longestWait = 1000

const none: Telling = Effect.succeed(Features.none)

/** What has happened at all servers, each from where it ended: there is one such place for each. */
const logged = (all: ReadonlyArray<One>, request: Request): Effect.Effect<Response, TalkError> => {
  const known = request.After?.split(" ") ?? []
  const { After: _, Wait, ...first } = request
  const wait = Wait === undefined ? {} : { Wait: Math.min(Wait, longestWait) }
  const asked = all.map((talker, i) =>
    talker.talk({ ...first, ...wait, ...(known.length === all.length ? { After: known[i]! } : {}) })
  )
  return Effect.map(Effect.all(asked, { concurrency: "unbounded" }), (responses) => {
    const other = responses.find(({ Status }) => Status !== "Logged")
    if (other !== undefined) return other
    const pages = responses.filter((response) => response.Status === "Logged")
    return {
      Status: "Logged",
      Events: pages.flatMap(({ Events }) => Events).toSorted((a, b) => Number(a.At) - Number(b.At)),
      After: pages.map(({ After }) => After).join(" ")
    }
  })
}

/** Talks to the server of a name by the Talker of that server. Each server of the list has to have one. */
export const make = (shards: Shards, talkers: ReadonlyMap<string, One>) => {
  const of = (name: string): One => talkers.get(shards.of(name))!
  const all = Array.from(talkers.values())

  const ofAny = (request: Request) => {
    const [first, ...others] = all.map((talker) => Effect.suspend(() => talker.talk(request)))
    return others.reduce((asked, next) => Effect.catch(asked, () => next), first!)
  }

  const inCommon: Telling = Effect.suspend(() =>
    Effect.forEach(all, ({ features }) => Effect.result(features ?? none), { concurrency: "unbounded" })
  ).pipe(Effect.flatMap((told) => {
    const known = told.filter(Result.isSuccess).map(({ success }) => success)
    const [first, ...others] = known
    return first === undefined
      ? Effect.fromResult(told[0]!)
      : Effect.succeed(new Set(Array.from(first).filter((feature) => others.every((other) => other.has(feature)))))
  }))

  // The names of all servers, one server after another: where a page ends says which is next.
  const listed = (request: Request): Effect.Effect<Response, TalkError> => {
    const [, place = "0", after = ""] = /^(\d{1,4})\/(.*)$/s.exec(request.After ?? "") ?? []
    const at = Number(place)
    const { After: _, ...first } = request
    const talker = all[at]
    if (talker === undefined) return Effect.succeed({ Status: "NotFound" })
    return Effect.map(talker.talk(after === "" ? first : { ...first, After: after }), (response) => {
      if (response.Status !== "Listed") return response
      const { After, ...page } = response
      return After !== undefined
        ? { ...page, After: `${at}/${After}` }
        : at + 1 < all.length
        ? { ...page, After: `${at + 1}/` }
        : page
    })
  }

  const talk = (request: Request): Effect.Effect<Response, TalkError> =>
    request.Action === "Version" && request.FileName === ""
      ? ofAny(request)
      : request.Action === "List"
      ? listed(request)
      : request.Action === "Log"
      ? logged(all, request)
      : of(request.FileName).talk(request)

  return {
    notices: (listener: (notice: Notice) => void) => {
      const ends = all.map((talker) => talker.notices?.(listener))
      return () => ends.forEach((end) => end?.())
    },
    isPrompt: all.every(({ isPrompt }) => isPrompt === true),
    talk,
    features: inCommon,
    featuresOf: (name: string): Telling => {
      const talker = of(name)
      return talker.featuresOf?.(name) ?? talker.features ?? none
    }
  }
}
