/**
 * The store in Redis, 6 or later: one script, which compares and sets, for all that is asked at one moment.
 *
 * What is promised, and what is not:
 *
 * - Entries end by the clock of Redis's host, which is not to be set by leaps.
 * - A fence is the time at which its tenure began, in microseconds, or one more
 *   than the last if that is later. So fences rise also where Redis forgot
 *   everything, unless that clock was set back by more than Redis was away.
 * - What Redis forgets is free. Without persistence that is all that it had, with
 *   `appendfsync everysec` up to about a second of it, with `appendfsync always` nothing.
 * - Across a failover exclusion is best effort, since Redis replicates after it
 *   has answered: what was granted or renewed in the moment before may be lost, and
 *   then be granted again while its holder still works. A master that is cut off
 *   from its Sentinels goes on granting to those who reach it; what it granted
 *   is lost when it comes back. `min-replicas-to-write 1` with `min-replicas-max-lag 10`
 *   bounds that to about 10 seconds. `WAIT` makes a loss less likely, and does not
 *   rule it out, so it is not used. Fences rise across a failover too, as long as the
 *   clocks of the two hosts differ by less than it takes.
 * - Its user needs the keys `dlm*`, the channel `dlm:freed`, and scripts. Without the channel, those who wait look
 *   by themselves, each second, and a warning says so.
 * - Redis must not evict: `maxmemory-policy noeviction`. An evicted entry is a free lock.
 * - The script uses several keys. In a Redis Cluster the prefix must hold a hash tag,
 *   such as `{dlm}`, so that all lie in one slot.
 *
 * Sources: https://redis.io/docs/latest/operate/oss_and_stack/management/replication/ and
 * https://redis.io/docs/latest/operate/oss_and_stack/management/sentinel/
 */
import * as Config from "effect/Config"
import * as Context from "effect/Context"
import * as Duration from "effect/Duration"
import * as Effect from "effect/Effect"
import * as Layer from "effect/Layer"
import * as Redis from "effect/persistence/Redis"
import * as Random from "effect/Random"
import * as Redacted from "effect/Redacted"
import * as Result from "effect/Result"
import type * as Scope from "effect/Scope"
import * as Stream from "effect/Stream"
import { Batches } from "../store/Batches.ts"
import * as CompareAndSet from "../store/CompareAndSet.ts"
import * as Guarantees from "../store/Guarantees.ts"
import * as ReleaseFeed from "../store/ReleaseFeed.ts"
import { type Change, type Entry, Store } from "../store/Store.ts"
import { StoreError } from "../StoreError.ts"
import * as RedisConnection from "./RedisConnection.ts"
import * as Sentinels from "./Sentinels.ts"

/** How the store uses a Redis. */
export interface Options {
  /** What all its keys, and its channel, begin with: stores with the same prefix are the same. By default `dlm`. */
  readonly prefix?: string | undefined
  /** How long an operation may take. By default 2 seconds. */
  readonly timeout?: Duration.Input | undefined
}

const timeoutOf = (options: Options): Duration.Duration => Duration.fromInputUnsafe(options.timeout ?? "2 seconds")

/**
 * The script. It goes through what is asked, each of a key of its own, with its arguments: how many they are, the
 * name, the mark of this store if its asker waits, and the cases. Of each that is done alone: the first case that
 * fits is made, and the answer is its index and the tenure that it left behind, or at which store somebody waited for
 * what it freed; where none fits, it is -1, the tenure, and what is there; and it is -2 and why where the key is
 * nothing of ours.
 */
const compareAndSet = `
local channel, last = ARGV[1], KEYS[#KEYS]

-- Below 2^53, a double holds every microsecond until the year 2255.
local function nextRevision()
  local time = redis.call("TIME")
  local now = time[1] * 1000000 + time[2]
  local next = string.format("%.0f", math.max(now, (redis.call("GET", last) or 0) + 1))
  redis.call("SET", last, next)
  return next
end

local function attempt(key, from, to)
  local name, waits = ARGV[from], ARGV[from + 1]
  local held = redis.pcall("HMGET", key, "owner", "identity", "fence", "revision", "waited")
  if held.err then return { -2, held.err } end
  local owner, identity, fence, revision, waited = unpack(held)

  local function fits(expected, a, b)
    if expected == "Absent" then return not owner end
    if expected == "Owned" then return owner == a and identity == b and redis.call("HSTRLEN", key, "data") == 0 end
    return revision == a
  end

  local function remove()
    if not owner then return end
    redis.call("DEL", key)
    -- Who may not publish has freed it all the same, and those who wait look by themselves.
    if waited ~= "" then redis.pcall("PUBLISH", channel, name) end
  end

  local function write(ttl, newOwner, newIdentity, data)
    revision = nextRevision()
    if owner then redis.call("DEL", key) else fence, waited = revision, "" end
    redis.call("HSET", key, "owner", newOwner, "identity", newIdentity, "data", data,
      "fence", fence, "revision", revision, "waited", waited)
    redis.call("PEXPIRE", key, ttl)
    return tonumber(ttl)
  end

  local at, index, entry = from + 2, 0, nil
  while at <= to do
    local expected, a, b, change = ARGV[at], ARGV[at + 1], ARGV[at + 2], ARGV[at + 3]
    at = at + 4
    if change == "Write" then
      entry = at
      at = at + 4
    end
    if fits(expected, a, b) then
      if change == "Remove" then
        remove()
        return { index, false, false, false, waited }
      end
      if change == "Keep" then return owner and { index, fence, revision, redis.call("PTTL", key) } or { index } end
      local ttl = write(ARGV[entry], ARGV[entry + 1], ARGV[entry + 2], ARGV[entry + 3])
      return { index, fence, revision, ttl }
    end
    index = index + 1
  end

  if not owner then return { -1 } end
  if waits ~= "" and waited ~= waits and waited ~= "many" then
    redis.call("HSET", key, "waited", waited == "" and waits or "many")
  end
  return { -1, fence, revision, redis.call("PTTL", key), owner, identity, redis.call("HGET", key, "data") }
end

local answers, at = {}, 2
for i = 1, #KEYS - 1 do
  local count = tonumber(ARGV[at])
  answers[i] = attempt(KEYS[i], at + 1, at + count)
  at = at + 1 + count
end
return answers
`

type ScriptReply = readonly [
  index: number,
  fence?: string | null,
  revision?: string | null,
  expiresIn?: number,
  /** Where something was removed, the mark of the store at which somebody waited for it, or "many". */
  owner?: string,
  identity?: string,
  data?: string
]

// Text goes as UTF-8, which has no lone surrogates: what has some goes as JSON, which escapes them. None at all is empty.
const encode = (text: string | undefined): string =>
  text === undefined ? "" : text.isWellFormed() ? `=${text}` : JSON.stringify(text)

const decode = (encoded: string): string | undefined =>
  encoded === "" ? undefined : encoded.startsWith("=") ? encoded.slice(1) : String(JSON.parse(encoded))

// Some thousand years, as far as Redis can count.
const maxTtlMillis = 1e14

const changeArgs = (change: Change): ReadonlyArray<string> =>
  change._tag !== "Write" ? [change._tag] : [
    change._tag,
    String(Math.min(Math.ceil(change.ttlMillis), maxTtlMillis)),
    encode(change.entry.owner),
    encode(change.entry.identity),
    encode(change.entry.data)
  ]

const expectedArgs = (expected: CompareAndSet.Expected): ReadonlyArray<string> => {
  switch (expected._tag) {
    case "Absent":
      return [expected._tag, "", ""]
    case "Owned":
      return [expected._tag, encode(expected.owner), encode(expected.identity)]
    case "Revision":
      return [expected._tag, String(expected.revision), ""]
  }
}

const isSameWrite = (a: Change | undefined, b: Change): boolean =>
  a?._tag === "Write" && b._tag === "Write" && a.ttlMillis === b.ttlMillis && a.entry.owner === b.entry.owner &&
  a.entry.identity === b.entry.identity && a.entry.data === b.entry.data

// The same write in both cases, as is usual, is sent once.
const caseArgs = (cases: ReadonlyArray<CompareAndSet.Case>, index: number): ReadonlyArray<string> => {
  const { change, expected } = cases[index]!
  return [
    ...expectedArgs(expected),
    ...(isSameWrite(cases[index - 1]?.change, change) ? ["WriteTheSame"] : changeArgs(change))
  ]
}

const replyOf = (
  mark: string,
  [index, fence, revision, expiresIn = 0, owner = "", identity = "", data = ""]: ScriptReply
): CompareAndSet.Reply => {
  const tenure = typeof fence !== "string" || typeof revision !== "string"
    ? undefined
    : { fence: BigInt(fence), revision: BigInt(revision), expiresIn }
  if (index >= 0) return { _tag: "Made", index, tenure, waited: tenure === undefined && owner !== "" && owner !== mark }
  if (tenure === undefined) return { _tag: "Free" }
  const entry: Entry = { owner: decode(owner) ?? "", identity: decode(identity), data: decode(data) }
  return { _tag: "Found", entry, tenure }
}

/** What is asked of one key. */
interface Question {
  readonly key: string
  readonly args: ReadonlyArray<string>
}

/** So many are asked by one call of the script: some hundred microseconds, in which Redis does nothing else. */
const maxBatch = 16

/**
 * Keeps entries in Redis: the store over the `Redis` service. Fails with a
 * `StoreError` if Redis cannot be used.
 */
export const make = Effect.fnUntraced(function*(options: Options = {}) {
  const redis = yield* Redis.Redis
  const prefix = options.prefix ?? "dlm"
  const [last, channel] = [`${prefix}:last`, `${prefix}:freed`]
  const timeout = timeoutOf(options)
  // No other store over the same Redis marks alike who waits at it.
  const mark = (yield* Random.nextInt).toString(36)
  const toError = ({ cause }: Redis.RedisError) => new StoreError({ store: "redis", reason: "Failed", cause })
  const inTime = Effect.timeoutOrElse({
    duration: timeout,
    orElse: () => Effect.fail(new StoreError({ store: "redis", reason: "Timeout" }))
  })
  const digest = yield* redis.send<string>("SCRIPT", "LOAD", compareAndSet).pipe(Effect.mapError(toError), inTime)

  // `Redis.eval` would look the digest up in a cache, which costs as much as all the rest.
  const run = (args: ReadonlyArray<string>) =>
    Effect.catchIf(
      redis.send<ReadonlyArray<ScriptReply>>("EVALSHA", digest, ...args),
      // Another Redis has taken over, or it was started anew.
      ({ cause }) => String(cause).includes("NOSCRIPT"),
      () => redis.send<ReadonlyArray<ScriptReply>>("EVAL", compareAndSet, ...args)
    )

  const batches = new Batches<Question, ScriptReply>({
    max: maxBatch,
    context: yield* Effect.context<never>(),
    perform: (questions) => {
      const args = [String(questions.length + 1), ...questions.map(({ key }) => key), last, channel]
      for (const question of questions) args.push(String(question.args.length), ...question.args)
      return Effect.mapError(run(args), ({ cause }) => cause)
    }
  })

  const attempt = (name: string, cases: ReadonlyArray<CompareAndSet.Case>, waits: boolean) => {
    const text = encode(name)
    const args = [text, waits ? mark : ""]
    cases.forEach((_, index) => args.push(...caseArgs(cases, index)))
    return Effect.flatMap(
      batches.ask({ key: prefix + text, args }),
      (reply) =>
        reply[0] === -2
          ? Effect.fail(new Error(String(reply[1])))
          : Effect.try({ try: () => replyOf(mark, reply), catch: (cause) => cause })
    )
  }

  // A script that reads shows at once whether scripts may be run on these keys.
  yield* attempt("", [], false).pipe(
    Effect.mapError((cause) => new StoreError({ store: "redis", reason: "Failed", cause })),
    inTime
  )

  const freed = ReleaseFeed.forever({
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

  return Store.of({
    modify: CompareAndSet.make({ store: "redis", timeout, attempt }),
    sharing: { freed }
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
export const layer = (options?: Options): Layer.Layer<Store | Guarantees.Fence, StoreError, Redis.Redis> =>
  Layer.effectContext(
    Effect.map(
      make(options),
      (store) => Context.make(Store, store).pipe(Context.add(Guarantees.Fence, true))
    )
  )

/**
 * The store in the Redis of a URL: `redis://user:password@host:6379/0`, `rediss://` over TLS, or `unix:///path`.
 *
 * Connects with node-redis. If it cannot at first, it fails with a `StoreError`; after that it connects again by
 * itself, whatever happens.
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
export const layerUrl = (
  options: Options & { readonly url: Redacted.Redacted }
): Layer.Layer<Store | Guarantees.Fence, StoreError> =>
  layerConnected(
    options,
    Effect.succeed(Effect.succeed({ client: { url: Redacted.value(options.url) }, left: Effect.never }))
  )

/**
 * As `layerUrl`, with the URL and the prefix from Config: `REDIS_URL`, and `DLM_REDIS_PREFIX` or else `dlm`.
 */
export const layerConfig: Layer.Layer<Store | Guarantees.Fence, StoreError | Config.ConfigError> = Layer.unwrap(
  Effect.map(
    Config.all({
      url: Config.Redacted("REDIS_URL"),
      prefix: Config.String("DLM_REDIS_PREFIX").pipe(Config.withDefault(undefined))
    }),
    layerUrl
  )
)

/**
 * The store in the Redis that Sentinels watch over: it follows the master by
 * itself. What a failover may lose is said at the top of this module.
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
): Layer.Layer<Store | Guarantees.Fence, StoreError> =>
  layerConnected(options, Sentinels.locate({ ...options, patience: timeoutOf(options) }))

const layerConnected = (
  options: Options,
  locating: Effect.Effect<RedisConnection.Options["locate"], never, Scope.Scope>
) =>
  Layer.provide(
    layer(options),
    Layer.effect(
      Redis.Redis,
      Effect.flatMap(locating, (locate) => RedisConnection.make({ locate, patience: timeoutOf(options) }))
    )
  )
