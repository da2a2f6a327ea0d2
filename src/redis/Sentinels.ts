/**
 * Where the Sentinels say that the master is.
 *
 * All are asked, and the one with the newest configuration is believed: one
 * that is cut off from the others may know of a master that is none any more.
 * They are asked again every second, so a master that has hung is left as soon
 * as they have chosen another, though nothing ended the connection to it.
 *
 * Source: https://redis.io/docs/latest/develop/reference/sentinel-clients/
 */
import type * as Duration from "effect/Duration"
import * as Effect from "effect/Effect"
import * as Redis from "effect/persistence/Redis"
import * as Redacted from "effect/Redacted"
import type * as Scope from "effect/Scope"
import { type ClientOptions, type Endpoint, keep, type Send } from "./RedisConnection.ts"

/** Who connects. */
export interface Credentials {
  /** By default `default`. */
  readonly username?: string | undefined
  readonly password: Redacted.Redacted
}

/** A set of Sentinels, and what they watch over. */
export interface Options {
  /** What the Sentinels call the master, such as `mymaster`. */
  readonly master: string
  /** Some of the Sentinels at least: as many as may be down at once, and one more. The port is 26379 by default. */
  readonly sentinels: ReadonlyArray<{ readonly host: string; readonly port?: number | undefined }>
  /** For Redis itself. By default none. */
  readonly credentials?: Credentials | undefined
  /** For the Sentinels. By default none. */
  readonly sentinelCredentials?: Credentials | undefined
  /** Which database of Redis. By default 0. */
  readonly database?: number | undefined
  /** Whether to talk TLS, to all of them. Certificates are checked against the system's authorities. By default no. */
  readonly tls?: boolean | undefined
}

interface Master {
  readonly host: string
  readonly port: number
  readonly epoch: number
}

/** Finds the master, whenever it is asked. Fails while no Sentinel can say. */
export const locate = Effect.fnUntraced(function*(
  options: Options & { readonly patience: Duration.Duration }
): Effect.fn.Return<Effect.Effect<Endpoint, Redis.RedisError>, never, Scope.Scope> {
  const socketOf = (host: string, port: number): ClientOptions["socket"] & {} =>
    options.tls === true ? { host, port, tls: true } : { host, port }
  const sentinels = yield* Effect.forEach(options.sentinels, ({ host, port = 26379 }) =>
    keep({
      patience: options.patience,
      locate: Effect.succeed({
        client: { socket: socketOf(host, port), ...authOf(options.sentinelCredentials) },
        left: Effect.never
      })
    }), { concurrency: "unbounded" })

  const ask = (send: Send): Effect.Effect<Master, Redis.RedisError> =>
    send<{ ip: string; port: string; "config-epoch": string }>("SENTINEL", "MASTER", options.master).pipe(
      Effect.map((told) => ({ host: told.ip, port: Number(told.port), epoch: Number(told["config-epoch"]) })),
      Effect.timeoutOrElse({
        duration: options.patience,
        orElse: () => Effect.fail(new Redis.RedisError({ cause: new Error("a Sentinel does not answer") }))
      })
    )
  const master = Effect.gen(function*() {
    const [told, failures] = yield* Effect.partition(sentinels, ask, { concurrency: "unbounded" })
    const [newest] = told.toSorted((a, b) => b.epoch - a.epoch)
    if (newest !== undefined) return newest
    const causes = failures.map(({ cause }) => cause)
    const problems = new Set(causes.map((cause) => cause instanceof Error ? cause.message : String(cause)))
    return yield* new Redis.RedisError({
      cause: new AggregateError(causes, `no Sentinel names the master: ${[...problems].join("; ")}`)
    })
  })

  return Effect.map(master, ({ host, port }): Endpoint => ({
    client: {
      socket: socketOf(host, port),
      database: options.database ?? 0,
      ...authOf(options.credentials)
    },
    left: master.pipe(
      Effect.delay("1 second"),
      Effect.repeat({ while: (now) => now.host === host && now.port === port }),
      // While none of them answers, the master that is known goes on.
      Effect.eventually
    )
  }))
})

const authOf = (credentials: Credentials | undefined): ClientOptions =>
  credentials === undefined ? {} : {
    password: Redacted.value(credentials.password),
    ...(credentials.username === undefined ? {} : { username: credentials.username })
  }
