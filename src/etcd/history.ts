/**
 * Whether etcd forgets what keys were. It keeps all of it until it is compacted, which it does not do by default.
 */
import * as Effect from "effect/Effect"
import * as Base64 from "effect/encoding/Base64"
import * as Schema from "effect/Schema"
import { type EtcdClient, method } from "./EtcdClient.ts"

const range = method(
  "/v3/kv/range",
  Schema.Struct({ header: Schema.Struct({ revision: Schema.BigIntFromString }) })
)

/** Of an etcd that compacts every hour, some thirty changes a second leave less. */
const plenty = 100_000n

/** Warns where so many revisions are kept that nobody seems to compact them. What cannot be read is not warned of. */
export const warn = (client: EtcdClient, prefix: string, most: bigint = plenty): Effect.Effect<void> => {
  const key = Base64.encode(prefix)
  const newest = client.ask(range, JSON.stringify({ key, count_only: true }))
  return newest.pipe(
    Effect.flatMap(({ header: { revision } }) =>
      revision <= most
        ? Effect.void
        : Effect.andThen(
          // Refused where it was compacted.
          client.ask(range, JSON.stringify({ key, count_only: true, revision: String(revision - most) })),
          Effect.logWarning(
            `etcd keeps more than ${most} old revisions of its keys. Once they fill its quota it grants nothing any more. ` +
              "Start its members with --auto-compaction-mode=periodic --auto-compaction-retention=1h"
          )
        )
    ),
    Effect.ignore
  )
}
