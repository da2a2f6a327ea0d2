/**
 * A new connection, and what its server can.
 *
 * The server is asked for its `Version`, without what is the asker's alone. Only an answer decides: one that names `seq`
 * makes a connection for many requests, and one without it says that the server takes one request for each. An answer that
 * is late, lost, cut off or none of the protocol is an error, and says nothing of the server.
 */
import * as Clock from "effect/Clock"
import * as Duration from "effect/Duration"
import * as Effect from "effect/Effect"
import * as Exit from "effect/Exit"
import * as Scope from "effect/Scope"
import type * as Socket from "effect/socket/Socket"
import type { TalkError } from "../DlmError.ts"
import { beginFrames, frames } from "../protocol/codecs.ts"
import type { Feature, Request } from "../protocol/Protocol.ts"
import * as Protocol from "../protocol/Protocol.ts"
import { Connection } from "./Connection.ts"
import { failure, notOfTheProtocol, wrongShard } from "./failure.ts"
import * as Features from "./features.ts"
import type { Notices } from "./Notices.ts"
import { firstAnswer, open, type Opened, speaking } from "./Opening.ts"

/** Asks for the version: the errors of connecting are about this. */
export const version: Request = { ID: "", FileName: "", Action: "Version", Expire: 0 }

/** What connecting needs to know. */
export interface Options {
  readonly connect: Effect.Effect<Socket.Socket>
  readonly openTimeout: Duration.Duration
  readonly answerTimeout: Duration.Duration
  /** Secret bits of the client's, which end its earlier connection where the server knows `session`. */
  readonly session: string
  /** How to speak: by frames where the server knows them, or by lines in any case. */
  readonly wire: "frames" | "lines"
  /** Where names are spread over several servers: which this one should be, and of which list. */
  readonly shard?: string | undefined
  /** Hears what the server tells without having been asked. */
  readonly notices: Notices
}

// None where the server takes one request for each connection.
const askFeatures = Effect.fnUntraced(function*(
  opened: Opened,
  { answerTimeout, openTimeout, session, shard }: Options
): Effect.fn.Return<ReadonlySet<Feature> | undefined, TalkError> {
  const answer = yield* firstAnswer(
    { ...version, Seq: "0", Session: session, Notices: "revoke", ...(shard && { Shards: shard }) },
    opened
  )
    .pipe(
      Effect.timeoutOrElse({
        duration: Duration.min(openTimeout, answerTimeout),
        orElse: () => Effect.fail(failure(version, "AnswerTimeout"))
      })
    )
  const received = Protocol.excerpt(JSON.stringify(answer))
  switch (answer.Status) {
    case "Version": {
      const features = Features.named(answer)
      if (shard !== undefined && (answer.Shards !== shard || !features.has("shards"))) {
        return yield* wrongShard(version, shard, answer.Shards)
      }
      return features.has("seq") ? features : undefined
    }
    // So old that it does not know the question.
    case "BadAction":
      return shard === undefined ? undefined : yield* wrongShard(version, shard, undefined)
    case "WrongShard":
      return yield* shard === undefined
        ? notOfTheProtocol(version, received)
        : wrongShard(version, shard, answer.Shards)
    // Too busy to say, which passes.
    case "NO":
      return yield* Effect.fail(failure(version, "Closed", { received }))
    default:
      return yield* notOfTheProtocol(version, received)
  }
})

/**
 * Opens a connection that lives in the scope. Nothing is given where the server takes one request for each: that
 * connection is closed again.
 */
export const connect = Effect.fnUntraced(function*(
  options: Options,
  scope: Scope.Scope
): Effect.fn.Return<Connection | undefined, TalkError> {
  const mine = yield* Scope.fork(scope)
  const close = Scope.close(mine, Exit.void)
  const { features, opened } = yield* Effect.gen(function*() {
    const opened = yield* Scope.provide(open(options.connect, version, options.openTimeout), mine)
    const features = yield* Effect.onError(askFeatures(opened, options), () => Effect.sync(opened.reset))
    if (features === undefined) yield* close
    return { features, opened }
  }).pipe(Effect.onError(() => close))
  if (features === undefined) return undefined
  const speaksFrames = options.wire === "frames" && features.has("frames")
  const connection = new Connection({
    opened: speaksFrames ? { ...opened, ...speaking(frames) } : opened,
    first: speaksFrames ? beginFrames : undefined,
    features,
    notices: options.notices,
    answerTimeout: Duration.toMillis(options.answerTimeout),
    clock: yield* Clock.Clock,
    context: yield* Effect.context<never>()
  })
  yield* connection.run.pipe(Effect.ensuring(close), Effect.forkIn(scope, { startImmediately: true }))
  return connection
})
