/**
 * What others free, by a watch.
 */
import * as Cause from "effect/Cause"
import * as Duration from "effect/Duration"
import * as Effect from "effect/Effect"
import * as Base64 from "effect/encoding/Base64"
import * as Option from "effect/Option"
import * as Schedule from "effect/Schedule"
import * as Schema from "effect/Schema"
import * as Stream from "effect/Stream"
import * as ReleaseFeed from "../store/ReleaseFeed.ts"
import type { EtcdClient } from "./EtcdClient.ts"
import { afterPrefix, nameOf } from "./operations.ts"

const Deletions = Schema.fromJsonString(Schema.Struct({
  result: Schema.Struct({
    header: Schema.optionalKey(Schema.Struct({ revision: Schema.optionalKey(Schema.BigIntFromString) })),
    created: Schema.optionalKey(Schema.Boolean),
    canceled: Schema.optionalKey(Schema.Boolean),
    cancel_reason: Schema.optionalKey(Schema.String),
    compact_revision: Schema.optionalKey(Schema.String),
    events: Schema.optionalKey(Schema.Array(Schema.Struct({
      kv: Schema.Struct({ key: Schema.String, mod_revision: Schema.optionalKey(Schema.BigIntFromString) })
    })))
  })
}))
type Deletions = typeof Deletions.Type
const decodeDeletions = Schema.decodeEffect(Deletions)

const listenRetry = Schedule.spaced("100 millis")

/**
 * How long a watch that tells nothing is listened to. Its connection may have gone silent, and no other request need find that
 * out: then it is asked for anew, from what was told last, so that nothing is missed.
 */
const quiet = Duration.seconds(3)

const unanswered = Stream.fail(new Error(`etcd does not answer a watch within ${Duration.format(quiet)}`))

/** Ends where nothing comes for a while: by the time that passes, and not by the wall clock, as `Stream.timeout` does. */
const untilQuiet = <A, E>(self: Stream.Stream<A, E>): Stream.Stream<A, E> =>
  Stream.transformPull(
    self,
    (pull) => Effect.succeed(Effect.timeoutOrElse(pull, { duration: quiet, orElse: () => Cause.done() }))
  )

/** One watch after another, each from where the one before was. */
class Watching {
  private readonly keys: object
  private told: bigint | undefined
  private isAnswered = false
  /** It tells nothing more. */
  isOver = false

  constructor(prefix: string) {
    this.keys = { key: Base64.encode(prefix), range_end: afterPrefix(prefix), filters: ["NOPUT"] }
  }

  /** The request for the next one. */
  begin(): string {
    this.isAnswered = this.isOver = false
    const from = this.told === undefined ? {} : { start_revision: String(this.told + 1n) }
    return JSON.stringify({ create_request: { ...this.keys, ...from } })
  }

  /** Whether it was answered, before it told nothing more. */
  get ended(): Stream.Stream<never, Error> {
    return this.isAnswered ? Stream.empty : unanswered
  }

  /** What it may go on from is gone, or not known any more: it begins with what comes then. */
  forget(): void {
    this.told = undefined
  }

  /** The deletions that it tells of; none where it begins, or where what it was to go on from has been compacted. */
  read({ result }: Deletions): Effect.Effect<NonNullable<Deletions["result"]["events"]>, Error> {
    this.isAnswered = true
    if (result.canceled === true) {
      this.forget()
      this.isOver = true
      return Number(result.compact_revision ?? 0) > 0
        ? Effect.succeed([])
        : Effect.fail(new Error(result.cancel_reason ?? "it ended the watch"))
    }
    const { created, events = [], header } = result
    // The header has the newest revision of all. Where it tells what it missed, in parts, more comes after that is older.
    const revision = events.at(-1)?.kv.mod_revision ?? header?.revision
    if (created !== true || this.told === undefined) this.told = revision ?? this.told
    return Effect.succeed(events)
  }
}

/** The names whose keys are deleted, or those of a place of theirs, also by the end of their leases. */
export const freed = (client: EtcdClient, prefix: string): Stream.Stream<string> => {
  const watching = new Watching(prefix)
  return ReleaseFeed.forever({
    again: listenRetry,
    remedy: `If etcd refuses it, allow its user to read all keys that begin with ${prefix}`,
    hear: (listening) =>
      Stream.suspend(() => client.lines("/v3/watch", watching.begin())).pipe(
        untilQuiet,
        Stream.concat(Stream.suspend(() => watching.ended)),
        Stream.mapEffect((line) => Effect.flatMap(decodeDeletions(line), (told) => watching.read(told))),
        Stream.tap(() => listening),
        Stream.takeUntil(() => watching.isOver),
        Stream.tapError(() => Effect.sync(() => watching.forget())),
        // What goes at once of one name is one release.
        Stream.flatMap((events) =>
          Stream.fromIterable(new Set(events.flatMap(({ kv }) => Option.toArray(nameOf(prefix, kv.key)))))
        ),
        // It also ends where another member is asked from then on, or has closed it in peace.
        Stream.repeat(listenRetry)
      )
  })
}
