/**
 * What others free, by a watch.
 */
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
    header: Schema.optionalKey(Schema.Struct({ revision: Schema.optionalKey(Schema.String) })),
    canceled: Schema.optionalKey(Schema.Boolean),
    cancel_reason: Schema.optionalKey(Schema.String),
    events: Schema.optionalKey(Schema.Array(Schema.Struct({ kv: Schema.Struct({ key: Schema.String }) })))
  })
}))
const decodeDeletions = Schema.decodeEffect(Deletions)

const listenRetry = Schedule.spaced("100 millis")

/**
 * How long a watch that tells nothing is listened to. Its connection may have gone silent, and no other request need find that
 * out: then it is asked for anew, from the revision that was told last, so that nothing is missed.
 */
const quiet = Duration.millis(1500)

/** The names whose keys are deleted, or those of a place of theirs, also by the end of their leases. */
export const freed = (client: EtcdClient, prefix: string): Stream.Stream<string> => {
  const keys = { key: Base64.encode(prefix), range_end: afterPrefix(prefix), filters: ["NOPUT"] }
  let told: string | undefined
  const watch = () => {
    const from = told === undefined ? {} : { start_revision: String(BigInt(told) + 1n) }
    return JSON.stringify({ create_request: { ...keys, ...from } })
  }
  return ReleaseFeed.forever({
    again: listenRetry,
    remedy: `If etcd refuses it, allow its user to read all keys that begin with ${prefix}`,
    hear: (listening) =>
      Stream.suspend(() => client.lines("/v3/watch", watch())).pipe(
        Stream.timeout(quiet),
        Stream.mapEffect((line) => decodeDeletions(line)),
        Stream.mapEffect(({ result: { cancel_reason = "it ended the watch", canceled, events = [], header } }) => {
          // What it was to go on from may have been compacted.
          told = canceled === true ? undefined : header?.revision ?? told
          return canceled === true ? Effect.fail(new Error(cancel_reason)) : Effect.as(listening, events)
        }),
        // What goes at once of one name is one release.
        Stream.flatMap((events) =>
          Stream.fromIterable(new Set(events.flatMap(({ kv }) => Option.toArray(nameOf(prefix, kv.key)))))
        ),
        // It also ends where another member is asked from then on, or has closed it in peace.
        Stream.repeat(listenRetry)
      )
  })
}
