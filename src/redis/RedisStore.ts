/**
 * The store in Redis, 6 or later: one script, which compares and sets, for all that is asked at one moment.
 *
 * What is promised, and what is not:
 *
 * - Entries, and the holders of one, end by the clock of Redis's host, which is not to be set by leaps.
 * - A command that comes after the time of whoever asked, by that clock, changes nothing. What that clock is, is known here
 *   from the last answer. Where it was set forward since, or this machine was suspended, a command seems too late that
 *   is not: it is told so with the clock as it is, and sent again, which costs one round trip. Where it was set back,
 *   a command that is late by no more than that is carried out; so it is until the next answer, and not after that. A
 *   failover to a host whose clock is another is such a step.
 * - A fence is the time at which its tenure began, in microseconds, or one more
 *   than the last if that is later. So fences rise also where Redis forgot
 *   everything, unless that clock was set back by more than Redis was away. Since
 *   when a tenure is, is read from it.
 * - What Redis forgets is free. Without persistence that is all that it had, with
 *   `appendfsync everysec` up to about a second of it, with `appendfsync always` nothing.
 * - Across a failover exclusion is best effort, since Redis replicates after it
 *   has answered: what was granted or renewed in the moment before may be lost, and
 *   then be granted again while its holder still works. A master that is cut off
 *   from its Sentinels goes on granting to the clients that reach it; what it granted
 *   is lost when it comes back. `min-replicas-to-write 1` with `min-replicas-max-lag 10`
 *   bounds that to about 10 seconds. `WAIT` makes a loss less likely, and does not
 *   rule it out, so it is not used. Fences rise across a failover too, as long as the
 *   clocks of the two hosts differ by less than the failover lasts.
 * - Its user needs the keys `dlm*`, the channel `dlm:freed`, and scripts. Without the channel, a waiter looks
 *   by itself, each second, and a warning says so. For a list it needs `SCAN` too, and `INFO`: see `listing.ts`.
 * - Redis must not evict: `maxmemory-policy noeviction`. An evicted entry is a free lock.
 * - Not a Redis Cluster: a node has some of the keys, and moves them to others. It is refused at the start.
 *
 * Sources: https://redis.io/docs/latest/operate/oss_and_stack/management/replication/ and
 * https://redis.io/docs/latest/operate/oss_and_stack/management/sentinel/
 */
import * as Config from "effect/Config"
import type * as Duration from "effect/Duration"
import * as Effect from "effect/Effect"
import * as Layer from "effect/Layer"
import * as Redis from "effect/persistence/Redis"
import * as Redacted from "effect/Redacted"
import * as Result from "effect/Result"
import type * as Scope from "effect/Scope"
import * as Stream from "effect/Stream"
import { Batches } from "../store/Batches.ts"
import * as CompareAndSet from "../store/CompareAndSet.ts"
import * as Failures from "../store/Failures.ts"
import * as Guarantees from "../store/Guarantees.ts"
import * as ReleaseFeed from "../store/ReleaseFeed.ts"
import * as Store from "../store/Store.ts"
import type { StoreError, StoreUrlError } from "../StoreError.ts"
import * as listing from "./listing.ts"
import { addCases, type Answer, answersOf, decode, encode, replyOf, type ScriptReplies, untilArg } from "./messages.ts"
import * as RedisConnection from "./RedisConnection.ts"
import { compareAndSet } from "./script.ts"
import * as Sentinels from "./Sentinels.ts"
import * as RedisUrl from "./url.ts"

/** How the store uses a Redis. */
export interface Options {
  /** What all its keys, and its channel, begin with: stores with the same prefix are the same. By default `dlm`. */
  readonly prefix?: string | undefined
  /** How long an operation may last. By default 2 seconds. */
  readonly timeout?: Duration.Input | undefined
}

/** Where Redis is, and how the store uses it. */
export interface UrlOptions extends Options {
  /**
   * `redis://user:password@host:6379/0`, `rediss://` over TLS, or `unix:///path`; or of Sentinels
   * `redis+sentinel://user:password@host:26379,host:26379/master`, `rediss+sentinel://` over TLS. Ports and the number
   * of the database may be left out. What is no letter or digit in a password is written as in any URL, `%40` for `@`.
   */
  readonly url: Redacted.Redacted
}

/** All that the store in Redis gives. */
export type Provided = Store.Store | Guarantees.Fence

const store = "redis"

/** What is asked of one key. */
interface Question {
  readonly key: string
  readonly args: ReadonlyArray<string>
}

/** The most questions for one call of the script: some hundred microseconds, in which Redis does nothing else. */
const maxBatch = 32

/** So many questions for one call cost little more each than many would. */
const enoughForBatch = 16

/** Loads the script, and runs it. */
const loadScript = Effect.fnUntraced(function*(timeout: Duration.Duration) {
  const redis = yield* Redis.Redis
  const digest = yield* redis.send<string>("SCRIPT", "LOAD", compareAndSet).pipe(
    Effect.mapError(({ cause }) => Failures.failed(store, cause)),
    Failures.within(store, timeout)
  )
  // `Redis.eval` would look the digest up in a cache, which costs as much as all the rest.
  return (args: ReadonlyArray<string>) =>
    Effect.catchIf(
      redis.send<ScriptReplies>("EVALSHA", digest, ...args),
      // Another Redis is the master now, or it was started anew.
      ({ cause }) => String(cause).includes("NOSCRIPT"),
      () => redis.send<ScriptReplies>("EVAL", compareAndSet, ...args)
    )
})

/** Fails where this is a node of a cluster. A user that may not ask is believed. */
const refuseCluster = Effect.fnUntraced(function*(timeout: Duration.Duration) {
  const redis = yield* Redis.Redis
  const info = yield* redis.send<string>("INFO", "cluster").pipe(
    Effect.orElseSucceed(() => ""),
    Failures.within(store, timeout)
  )
  if (/^cluster_enabled:1/m.test(String(info))) {
    return yield* Failures.failed(
      store,
      new Error("it is a node of a Redis Cluster, which cannot keep locks. Use one Redis, or one with Sentinels")
    )
  }
})

const freedOver = (redis: Redis.Redis["Service"], channel: string): Stream.Stream<string> =>
  ReleaseFeed.forever({
    again: RedisConnection.backoff,
    remedy: `If Redis refuses it, allow its user the channel ${channel}`,
    hear: (listening) =>
      Stream.unwrap(
        redis.subscribe(channel).pipe(
          // Where it could not subscribe, the queue has failed already.
          Effect.tap(({ state }) => state._tag === "Open" ? listening : Effect.void),
          Effect.map(Stream.fromQueue)
        )
      ).pipe(
        Stream.filterMap(({ message }) => Result.try(() => decode(message) ?? "")),
        Stream.mapError(({ cause }) => cause)
      )
  })

/**
 * Makes the store over the `Redis` service. Fails with a `StoreError` if Redis cannot be used.
 *
 * @example
 * ```ts
 * import { Effect } from "effect"
 * import { RedisStore } from "effect-dlm/redis"
 *
 * const program = Effect.gen(function*() {
 *   const store = yield* RedisStore.make({ prefix: "locks", timeout: "1 second" })
 *   return yield* store.modify("orders", (entry) => ({ answer: entry, change: { _tag: "Keep" } }))
 * })
 * ```
 */
export const make = Effect.fnUntraced(function*(options: Options = {}) {
  const redis = yield* Redis.Redis
  const prefix = options.prefix ?? "dlm"
  const [last, channel] = [`${prefix}:last`, `${prefix}:freed`]
  const timeout = Failures.timeoutOf(options)
  const mark = yield* ReleaseFeed.mark
  yield* refuseCluster(timeout)
  const run = yield* loadScript(timeout)

  const batches = new Batches<Question, Answer>({
    max: maxBatch,
    enough: enoughForBatch,
    context: yield* Effect.context<never>(),
    perform: (questions) => {
      const args = [String(questions.length + 1), ...questions.map(({ key }) => key), last, channel]
      for (const question of questions) args.push(String(question.args.length), ...question.args)
      return Effect.mapBoth(run(args), { onFailure: ({ cause }) => cause, onSuccess: answersOf })
    }
  })

  const attempt = (
    name: string,
    cases: ReadonlyArray<CompareAndSet.Case>,
    terms: CompareAndSet.Terms
  ) => {
    const text = encode(name)
    const args = [text, terms.waits ? mark : "", untilArg(terms)]
    addCases(args, cases)
    return Effect.flatMap(
      batches.ask({ key: prefix + text, args }),
      (answer) =>
        answer.reply[0] === -2
          ? Effect.fail(new Error(String(answer.reply[1])))
          : Effect.try({ try: () => replyOf(mark, answer), catch: (cause) => cause })
    )
  }

  // A script that reads shows at once whether scripts may be run on these keys, and what the clock is.
  const { now } = yield* attempt("", [], { waits: false, until: undefined }).pipe(
    Effect.mapError((cause) => Failures.failed(store, cause)),
    Failures.within(store, timeout)
  )

  return Store.Store.of({
    modify: yield* CompareAndSet.make({ store, timeout, attempt, now }),
    sharing: { freed: freedOver(redis, channel) },
    list: listing.make(redis, prefix, store, timeout)
  })
})

/**
 * The store over any implementation of `Redis`, such as platform-node's `NodeRedis`.
 *
 * Tell that one to keep no commands while it is disconnected (node-redis:
 * `disableOfflineQueue: true`), to connect again without end, and soon, and how many may wait.
 * `layerUrl` does all that.
 *
 * @example
 * ```ts
 * import { NodeRedis } from "@effect/platform-node"
 * import { Layer } from "effect"
 * import { RedisStore } from "effect-dlm/redis"
 *
 * const store = RedisStore.layer({ prefix: "locks" }).pipe(
 *   Layer.provide(NodeRedis.layer({
 *     url: "redis://127.0.0.1:6379",
 *     disableOfflineQueue: true,
 *     commandsQueueMaxLength: 10_000,
 *     socket: { reconnectStrategy: (retries) => Math.min(50 * 2 ** retries, 1000) }
 *   }))
 * )
 * ```
 */
export const layer = (options?: Options): Layer.Layer<Provided, StoreError, Redis.Redis> =>
  Store.layerOf(make(options), Guarantees.Fence)

/**
 * The store in the Redis of a URL, or in that which the Sentinels of a URL name.
 *
 * Connects with node-redis. It fails with a `StoreUrlError` where the URL is not written as `UrlOptions` says, and with
 * a `StoreError` where it cannot connect at first; after that it connects again by itself, whatever happens.
 *
 * @example
 * ```ts
 * import { Layer, Redacted } from "effect"
 * import { RedisStore } from "effect-dlm/redis"
 * import { Identities, LockServer } from "effect-dlm/server"
 *
 * const talker = LockServer.layerTalker.pipe(
 *   Layer.provide(LockServer.layer),
 *   Layer.provide([RedisStore.layerUrl({ url: Redacted.make("redis://127.0.0.1:6379") }), Identities.layerNone])
 * )
 * ```
 */
export const layerUrl = (options: UrlOptions): Layer.Layer<Provided, StoreError | StoreUrlError> =>
  Layer.unwrap(
    Effect.fromResult(
      Result.map(RedisUrl.parse(options.url), (place) =>
        place._tag === "Sentinels"
          ? layerSentinel({ ...options, ...place.sentinels })
          : layerConnected(
            options,
            Effect.succeed(Effect.succeed({ client: { url: Redacted.value(place.url) }, left: Effect.never }))
          ))
    )
  )

/**
 * As `layerUrl`, from the configuration.
 *
 * @example
 * ```ts
 * import { Config } from "effect"
 * import { RedisStore } from "effect-dlm/redis"
 *
 * const store = RedisStore.layerConfig({
 *   url: Config.Redacted("REDIS_URL"),
 *   prefix: Config.withDefault(Config.String("DLM_REDIS_PREFIX"), "dlm")
 * })
 * ```
 */
export const layerConfig = (
  config: Config.Wrap<UrlOptions>
): Layer.Layer<Provided, StoreError | StoreUrlError | Config.ConfigError> =>
  Layer.unwrap(Effect.map(Config.unwrap(config), layerUrl))

/**
 * The store in the Redis that Sentinels watch over: it follows the master by
 * itself. What a failover may lose is said at the top of this module. Beyond what a URL can say it accepts credentials
 * for the Sentinels themselves, and the number of a database.
 *
 * @example
 * ```ts
 * import { Redacted } from "effect"
 * import { RedisStore } from "effect-dlm/redis"
 *
 * const store = RedisStore.layerSentinel({
 *   master: "mymaster",
 *   sentinels: [{ host: "10.0.0.1" }, { host: "10.0.0.2" }, { host: "10.0.0.3" }],
 *   credentials: { password: Redacted.make("secret") }
 * })
 * ```
 */
export const layerSentinel = (
  options: Options & Sentinels.Options
): Layer.Layer<Provided, StoreError> =>
  layerConnected(options, Sentinels.locate({ ...options, patience: Failures.timeoutOf(options) }))

const layerConnected = (
  options: Options,
  locating: Effect.Effect<RedisConnection.Options["locate"], never, Scope.Scope>
) =>
  Layer.provide(
    layer(options),
    Layer.effect(
      Redis.Redis,
      Effect.flatMap(locating, (locate) => RedisConnection.make({ locate, patience: Failures.timeoutOf(options) }))
    )
  )
