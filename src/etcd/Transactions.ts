/**
 * One attempt at an entry as a transaction of etcd, and many of them in one.
 *
 * Each transaction costs etcd a round of its consensus and a write to its disk,
 * however much is in it, so what is asked for while others are on their way
 * goes together with the next: as nested transactions, each of another key.
 *
 * One that changes something has a stamp, so that it is void where it comes
 * late. One that is void, and is still waited for, is sent again with another.
 *
 * A transaction that etcd refuses, such as for the lease of one of its writes
 * that was revoked, has done nothing: what was in it is sent again one by one.
 */
import type * as Duration from "effect/Duration"
import * as Effect from "effect/Effect"
import type * as Fiber from "effect/Fiber"
import * as Result from "effect/Result"
import * as Schema from "effect/Schema"
import { type EtcdClient, EtcdError, isLeaseLost, method } from "./EtcdClient.ts"
import type { Stamp, Stamps } from "./Stamps.ts"

/** An entry as etcd tells of it. Its value is in base64. */
export interface KeyValue {
  /** In base64. */
  readonly key: string
  readonly create_revision: bigint
  readonly mod_revision: bigint
  /** None if only the revisions were asked for. */
  readonly value?: string
}

/** What etcd answers to one operation. */
export interface Answer {
  readonly response_range?: { readonly kvs?: ReadonlyArray<KeyValue> }
  readonly response_txn?: { readonly succeeded?: boolean; readonly responses?: ReadonlyArray<Answer> }
}

const KeyValue = Schema.Struct({
  key: Schema.String,
  create_revision: Schema.BigIntFromString,
  mod_revision: Schema.BigIntFromString,
  value: Schema.optionalKey(Schema.String)
})

const Answer: Schema.Codec<Answer, unknown> = Schema.Struct({
  response_range: Schema.optionalKey(Schema.Struct({ kvs: Schema.optionalKey(Schema.Array(KeyValue)) })),
  response_txn: Schema.optionalKey(Schema.Struct({
    succeeded: Schema.optionalKey(Schema.Boolean),
    responses: Schema.optionalKey(Schema.Array(Schema.suspend((): Schema.Codec<Answer, unknown> => Answer)))
  }))
})

const Answers = Schema.Struct({
  header: Schema.Struct({ revision: Schema.BigIntFromString }),
  succeeded: Schema.optionalKey(Schema.Boolean),
  responses: Schema.optionalKey(Schema.Array(Answer))
})

const transaction = method("/v3/kv/txn", Answers)

/** An operation on one key, and on those of its places. */
export interface Operation {
  /** The key, in base64. No transaction has two operations on one key: etcd refuses that. */
  readonly key: string
  /** The operation, as JSON. */
  readonly json: string
  /** Whether it is to do nothing where it comes late. */
  readonly isStamped: boolean
}

/** Does operations, each atomically and in one round trip; `answered` runs also if nobody waits for it any more. */
export type Perform = <A>(
  operation: Operation,
  answered: (answer: Answer, revision: bigint) => A
) => Effect.Effect<A, EtcdError>

interface Waiting {
  readonly operation: Operation
  readonly answered: (answer: Answer, revision: bigint) => void
  readonly failed: (error: EtcdError) => void
  abandoned: boolean
}

/** A quarter of what etcd allows by default (`--max-txn-ops`), so that it works on some while we do on others. */
const maxOperations = 32
/** In characters of JSON, well below the 1.5 MiB of `--max-request-bytes`. An operation that is longer goes alone. */
const maxLength = 256 * 1024
/** The most transactions that may be on their way. */
const maxFlights = 2

/** Removes from the queue what goes together in the next transaction, and no key that is on its way. */
const nextBatch = (queue: Array<Waiting>, flying: Set<string>): Array<Waiting> => {
  const batch: Array<Waiting> = []
  let length = 0
  for (let i = 0; i < queue.length && batch.length < maxOperations;) {
    const { operation: { json, key } } = queue[i]!
    if (batch.length > 0 && length + json.length > maxLength) break
    if (flying.has(key)) i++
    else {
      flying.add(key)
      length += json.length
      batch.push(queue[i]!)
      queue.splice(i, 1)
    }
  }
  return batch
}

/** The transaction of a batch. Before the key of its stamp is known to be there, it is written: see `Stamp`. */
const bodyOf = (batch: ReadonlyArray<Waiting>, stamp: Stamp | undefined): string => {
  const operations = batch.map(({ operation }) => operation.json).join(",")
  return stamp === undefined
    ? `{"success":[${operations}]}`
    : stamp.isWritten
    ? `{"compare":[{"key":"${stamp.key}","result":"GREATER","version":"0"}],` +
      `"success":[${operations}]}`
    : `{"success":[${operations},{"request_put":{"key":"${stamp.key}","lease":"${stamp.lease.id}"}}]}`
}

/** Sends a batch once. Nothing comes back where it was void. */
const sendOver =
  (client: EtcdClient, stamps: Stamps) =>
  (batch: ReadonlyArray<Waiting>): Effect.Effect<typeof Answers.Type | undefined, EtcdError> => {
    if (!batch.some(({ operation }) => operation.isStamped)) return client.once(transaction, bodyOf(batch, undefined))
    return Effect.flatMap(stamps.current, (stamp) => {
      const { isWritten } = stamp
      return client.once(transaction, bodyOf(batch, stamp)).pipe(
        Effect.map((answers) => {
          if (isWritten && answers.succeeded !== true) {
            stamps.forget(stamp)
            return undefined
          }
          stamp.isWritten = true
          return answers
        }),
        Effect.tapError((error) =>
          Effect.sync(() => {
            // It may have been that of the stamp.
            if (!isWritten && isLeaseLost(error)) stamps.forget(stamp)
          })
        )
      )
    })
  }

/** Carries a batch out, as far as etcd does it; `again` is given what is to be sent once more. */
const carryingOut = (send: ReturnType<typeof sendOver>, again: (batch: ReadonlyArray<Waiting>) => void) => {
  const carryOut = (batch: ReadonlyArray<Waiting>): Effect.Effect<void> =>
    Effect.matchEffect(send(batch), {
      onSuccess: (answers) =>
        Effect.sync(() => {
          if (answers === undefined) return again(batch)
          const { header, responses = [] } = answers
          batch.forEach(({ answered }, i) => answered(responses[i] ?? {}, header.revision))
        }),
      onFailure: (error) => {
        if (!error.passes && batch.length > 1) {
          return Effect.forEach(batch, (one) => Effect.suspend(() => one.abandoned ? Effect.void : carryOut([one])), {
            discard: true
          })
        }
        return Effect.sync(() => {
          for (const { failed } of batch) failed(error)
          // Once more, together with what was asked meanwhile, and without what nobody waits for any more.
          if (error.passes) again(batch)
        })
      }
    })
  return carryOut
}

/** Performs operations by fibers that `run` starts, each within `patience`. */
export const make = (
  client: EtcdClient,
  stamps: Stamps,
  patience: Duration.Duration,
  run: (effect: Effect.Effect<void>) => Fiber.Fiber<void>
): Perform => {
  const queue: Array<Waiting> = []
  // What is asked of a key that somebody has left must not be overtaken by what is asked of it next.
  const flying = new Set<string>()
  let flights = 0
  const again = (batch: ReadonlyArray<Waiting>) => {
    queue.unshift(...batch.filter(({ abandoned }) => !abandoned))
  }

  const carryOut = carryingOut(sendOver(client, stamps), again)

  const flight = Effect.gen(function*() {
    // Others are about to ask in this same moment.
    yield* Effect.yieldNow
    for (let batch = nextBatch(queue, flying); batch.length > 0; batch = nextBatch(queue, flying)) {
      yield* carryOut(batch).pipe(
        Effect.ensuring(Effect.sync(() => batch.forEach(({ operation }) => flying.delete(operation.key))))
      )
    }
  }).pipe(Effect.ensuring(Effect.sync(() => void flights--)))

  return <A>(operation: Operation, answered: (answer: Answer, revision: bigint) => A) =>
    Effect.suspend(() => {
      let last: EtcdError | undefined
      return Effect.callback<A, EtcdError>((resume) => {
        const waiting: Waiting = {
          operation,
          // What one cannot make of its answer is its own failure, and not that of all that were asked with it.
          answered: (answer, revision) =>
            resume(Result.match(Result.try(() => answered(answer, revision)), {
              onSuccess: Effect.succeed,
              onFailure: Effect.die
            })),
          failed: (error) => {
            last = error
            if (!error.passes) resume(Effect.fail(error))
          },
          abandoned: false
        }
        queue.push(waiting)
        if (flights < maxFlights) {
          flights++
          run(flight)
        }
        return Effect.sync(() => {
          waiting.abandoned = true
          const at = queue.indexOf(waiting)
          if (at !== -1) queue.splice(at, 1)
        })
      }).pipe(
        Effect.timeoutOrElse({ duration: patience, orElse: () => Effect.fail(last ?? late) })
      )
    })
}

const late = new EtcdError({ code: 4, message: "etcd does not answer in time" })
