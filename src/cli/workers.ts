/**
 * `dlm serve --workers`: several processes that serve one port, over a store that they share.
 */
import * as Flag from "effect/cli/Flag"
import * as Config from "effect/Config"
import * as Effect from "effect/Effect"
import type * as Option from "effect/Option"
import * as Queue from "effect/Queue"
import * as Schema from "effect/Schema"
import * as NodeProcess from "../node/NodeProcess.ts"
import * as OperationsHttp from "../node/OperationsHttp.ts"
import * as Worker from "../node/Worker.ts"
import * as Workers from "../node/Workers.ts"
import {
  announce,
  cannotListen,
  type Given as SaidOf,
  givenOf,
  type HttpGiven,
  listenHttp,
  type Serving
} from "./announcing.ts"
import { Failed, status } from "./Status.ts"
import * as StoreFlag from "./store.ts"

/** More would only wait for one another: a worker takes a core. */
const most = 64

const Count = Schema.Int.check(Schema.isBetween({ minimum: 1, maximum: most }))

export const flag = Flag.Int("workers").pipe(
  Flag.withSchema(Count),
  Flag.withDescription(
    `Serve by so many processes on the one port, over a store that they share: 1 to ${most} (DLM_WORKERS)`
  ),
  Flag.withFallbackConfig(Config.schema(Schema.NumberFromString.pipe(Schema.decodeTo(Count)), "DLM_WORKERS")),
  Flag.optional
)

/** What the flags say to the process that starts the workers; all else is theirs. */
interface Given extends StoreFlag.MemoryFlags, HttpGiven, SaidOf {
  readonly store: Option.Option<string>
  readonly port: number
  readonly json: boolean
}

const notShared = () =>
  new Failed({
    status: status.usage,
    error: "WrongUse",
    message: "--workers need a store that processes share, and memory is of one process: " +
      "name another with --store, such as sqlite:FILE or redis://HOST, or leave --workers out"
  })

const cannotStart = ({ how, status: itsOwn, told }: Workers.StartFailure) =>
  new Failed(
    told === undefined
      ? { status: itsOwn ?? status.system, error: "WorkersFailed", message: `no worker has started: ${how}` }
      : { status: told.status, error: told.error, message: told.message }
  )

/** Starts the workers, and says once that all listen. Then it keeps them running, and passes on to them what it is told. */
export const run = Effect.fnUntraced(function*(flags: Given, count: number, renew: Effect.Effect<void>) {
  const { host, json } = flags
  if (!(yield* StoreFlag.fromFlag(flags.store, flags)).isShared) return yield* notShared()
  const port = yield* Effect.mapError(
    Workers.portOf({ host, port: flags.port }),
    (error) => cannotListen(host, flags.port, error, "--port")
  )
  const hangups = yield* NodeProcess.hear("SIGHUP")
  const { listening, reload, shown } = yield* Workers.make({ count, port })
  // Before they listen: who asks is told then that it is not ready.
  const operations = yield* listenHttp(flags, shown, undefined)
  const { _tag, ...serving } = yield* Effect.mapError(listening, cannotStart)
  yield* announce(json, { ...serving, http: operations, workers: count, ...yield* givenOf(flags, true) })
  return yield* Effect.forever(Effect.andThen(Queue.take(hangups), Effect.andThen(renew, reload)))
})

/** Says as a worker that it listens, and from now on what it is asked. */
export const begun = Effect.fnUntraced(
  function*({ listening, shard, store }: Pick<Serving, "listening" | "shard" | "store">) {
    yield* Worker.answering(yield* OperationsHttp.ofLockServer)
    yield* Worker.tell({ _tag: "Listening", listening, store, shard })
  }
)

/** What a worker fails with is told to the process that has started it, which says it once for all. */
export const telling = <A, R>(self: Effect.Effect<A, Failed, R>): Effect.Effect<A | void, never, R> =>
  Effect.catch(self, ({ error, message, status }) =>
    Effect.andThen(
      Worker.tell({ _tag: "Failed", status, error, message }),
      NodeProcess.setExitStatus(status)
    ))
