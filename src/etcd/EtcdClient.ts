/**
 * What is asked of etcd, over the JSON gateway that each of its members has.
 *
 * All is asked of one member, for as long as it answers, and then of the next.
 * Whatever is asked ends, by an answer or by an `EtcdError`; nothing is kept,
 * to be sent once there is a connection again.
 */
import * as Data from "effect/Data"
import * as Deferred from "effect/Deferred"
import * as Duration from "effect/Duration"
import * as Effect from "effect/Effect"
import * as HttpClient from "effect/http/HttpClient"
import * as HttpClientRequest from "effect/http/HttpClientRequest"
import type { HttpClientResponse } from "effect/http/HttpClientResponse"
import * as Redacted from "effect/Redacted"
import * as Schema from "effect/Schema"
import * as Semaphore from "effect/Semaphore"
import * as Stream from "effect/Stream"

/** Where the members are, who asks, and how long a member may need for anything. */
export interface Options {
  /** Their client URLs, at least one. */
  readonly endpoints: ReadonlyArray<string>
  readonly credentials: Credentials | undefined
  /** How long to try. Each member gets its part of it, and the first a second one. */
  readonly patience: Duration.Duration
}

/** A user of etcd, where its authentication is enabled. */
export interface Credentials {
  readonly username: string
  readonly password: Redacted.Redacted<string>
}

/** etcd could not be reached, or refused. `code` is that of gRPC. */
export class EtcdError extends Data.TaggedError("EtcdError")<{
  readonly code: number
  readonly message: string
  readonly cause?: unknown
}> {
  /** Whether another member, or the same one a moment later, may well do it. */
  get passes(): boolean {
    return passing.has(this.code)
  }
}

/** Something that etcd answers at a path. */
export interface Method<A> {
  readonly path: string
  readonly decode: (json: string) => Effect.Effect<A, Schema.SchemaError>
}

/** The answers of a method, by their schema. */
export const method = <A>(path: string, answer: Schema.Codec<A, unknown>): Method<A> => ({
  path,
  decode: Schema.decodeEffect(Schema.fromJsonString(answer))
})

/** The members of a cluster, as if they were one. */
export interface EtcdClient {
  /** Asks one member, once. Where that one cannot do it, the next to ask will be another. */
  readonly once: <A>(method: Method<A>, body: string) => Effect.Effect<A, EtcdError>
  /** Asks until one can do it, or patience ends. */
  readonly ask: <A>(method: Method<A>, body: string) => Effect.Effect<A, EtcdError>
  /** The lines that a member answers with, until another member is asked, or this one again after a failure. */
  readonly lines: (path: string, body: string) => Stream.Stream<string, EtcdError>
}

const notFound = 5
const unavailable = 14
const unauthenticated = 16
// Cancelled, unknown, too late, aborted, internal and unavailable: of a member in trouble, or without a leader.
const passing: ReadonlySet<number> = new Set([1, 2, 4, 10, 13, unavailable])

/** How long after all members have failed, one after the other, the first is asked again. */
const breath = Duration.millis(100)

/** Whether a lease is not there any more. */
export const isLeaseLost = ({ code, message }: EtcdError): boolean => code === notFound && message.includes("lease")

// A token is good for a revision of the users, and is forgotten after a while.
const isTokenStale = ({ code, message }: EtcdError): boolean =>
  code === unauthenticated || message.includes("revision of auth store is old")

const decodeRefusal = Schema.decodeEffect(
  Schema.fromJsonString(Schema.Struct({
    error: Schema.optionalKey(Schema.String),
    message: Schema.optionalKey(Schema.String),
    code: Schema.Finite
  }))
)

const authenticate = method("/v3/auth/authenticate", Schema.Struct({ token: Schema.String }))

const unreachable = (endpoint: string, why: string, cause?: unknown) =>
  new EtcdError({ code: unavailable, message: `${endpoint} ${why}`, cause })

const refused = (endpoint: string, response: HttpClientResponse, body: string) =>
  Effect.matchEffect(decodeRefusal(body), {
    onFailure: () =>
      Effect.fail(unreachable(endpoint, `answers with the status ${response.status}, and not as etcd does`)),
    onSuccess: ({ code, error, message }) =>
      Effect.fail(new EtcdError({ code, message: message ?? error ?? `code ${code}` }))
  })

const textOf = (endpoint: string, response: HttpClientResponse) =>
  Effect.mapError(response.text, () => unreachable(endpoint, "closed the connection before its answer was whole"))

/** The member that is asked, and the moving on to another once it is of no use. */
const makeMembers = (endpoints: ReadonlyArray<string>) => {
  let member = 0
  let failures = 0
  let moved = Deferred.makeUnsafe<void>()
  return {
    /** The member that is asked now, and what succeeds once another one is. */
    current: () => ({ member, endpoint: endpoints[member % endpoints.length]!, moved: Deferred.await(moved) }),
    moveOn: (from: number) => {
      failures++
      if (member !== from) return
      member++
      Deferred.doneUnsafe(moved, Effect.void)
      moved = Deferred.makeUnsafe()
    },
    worked: () => {
      failures = 0
    },
    /** Whether each of them has failed, one after the other. */
    haveAllFailed: () => failures % endpoints.length === 0
  }
}

type Members = ReturnType<typeof makeMembers>

/** Sends a request to a member. */
const postOver =
  (http: HttpClient.HttpClient) => (endpoint: string, path: string, body: string, token: string | undefined) =>
    http.execute(
      HttpClientRequest.post(
        `${endpoint}${path}`,
        token === undefined ? undefined : { headers: { authorization: token } }
      )
        .pipe(HttpClientRequest.bodyText(body, "application/json"))
    ).pipe(
      // The error of the client holds the request, and so the password.
      Effect.mapError(({ reason }) => {
        const cause = "cause" in reason ? reason.cause : undefined
        return unreachable(endpoint, `cannot be reached${cause instanceof Error ? ` (${causeOf(cause)})` : ""}`, cause)
      })
    )

type Post = ReturnType<typeof postOver>

/** One request and its answer, by a member and in its time. */
const exchangeOver =
  (members: Members, post: Post, perTry: Duration.Duration) =>
  <A>({ decode, path }: Method<A>, body: string, token: string | undefined) =>
    Effect.suspend(() => {
      const { endpoint, member } = members.current()
      return post(endpoint, path, body, token).pipe(
        Effect.flatMap((response) =>
          Effect.flatMap(textOf(endpoint, response), (text) =>
            response.status === 200
              ? Effect.mapError(
                decode(text),
                (cause) => unreachable(endpoint, "answers, but not as etcd does", cause)
              )
              : refused(endpoint, response, text))
        ),
        Effect.timeoutOrElse({
          duration: perTry,
          orElse: () => Effect.fail(unreachable(endpoint, "does not answer in time"))
        }),
        Effect.tap(() => Effect.sync(members.worked)),
        Effect.tapError((error) => {
          if (!error.passes) return Effect.void
          members.moveOn(member)
          return members.haveAllFailed() ? Effect.sleep(breath) : Effect.void
        })
      )
    })

type Exchange = ReturnType<typeof exchangeOver>

/** Uses a token, and has it renewed where it is stale. Without credentials there is none. */
const withTokenOf = (credentials: Credentials | undefined, exchange: Exchange) => {
  let token: string | undefined
  const renewing = Semaphore.makeUnsafe(1)
  // A request asks for a token, for all.
  const renew = (stale: string | undefined) =>
    credentials === undefined ?
      Effect.void :
      renewing.withPermit(Effect.suspend(() =>
        token !== stale ? Effect.void : Effect.map(
          exchange(
            authenticate,
            JSON.stringify({ name: credentials.username, password: Redacted.value(credentials.password) }),
            undefined
          ),
          (answer) => void (token = answer.token)
        )
      ))

  return <A>(
    use: (token: string | undefined) => Effect.Effect<A, EtcdError>
  ): Effect.Effect<A, EtcdError> => {
    if (credentials === undefined) return use(undefined)
    return Effect.suspend(() => {
      const before = token
      const first = before === undefined
        ? Effect.andThen(renew(undefined), Effect.suspend(() => use(token)))
        : use(before)
      return Effect.catchIf(
        first,
        isTokenStale,
        () => Effect.suspend(() => Effect.andThen(renew(before ?? token), Effect.suspend(() => use(token))))
      )
    })
  }
}

/** A client of these members. Asks nothing yet. */
export const make = Effect.fnUntraced(function*({ credentials, endpoints, patience }: Options) {
  // Many asks share one request, so a span for each request would tell nothing.
  const http = HttpClient.transformResponse(
    yield* HttpClient.HttpClient,
    Effect.provideService(HttpClient.TracerDisabledWhen, () => true)
  )
  const members = makeMembers(endpoints)
  const post = postOver(http)
  const perTry = Duration.millis(Duration.toMillis(patience) / (endpoints.length + 1))
  const exchange = exchangeOver(members, post, perTry)
  const withToken = withTokenOf(credentials, exchange)

  const once = <A>(method: Method<A>, body: string) => withToken((token) => exchange(method, body, token))

  const ask = <A>(method: Method<A>, body: string) =>
    Effect.suspend(() => {
      let last: EtcdError | undefined
      return once(method, body).pipe(
        Effect.tapError((error) => Effect.sync(() => void (last = error))),
        Effect.retry({ while: (error) => error.passes }),
        Effect.timeoutOrElse({
          duration: patience,
          orElse: () => Effect.fail(last ?? unreachable(members.current().endpoint, "does not answer in time"))
        })
      )
    })

  const lines = (path: string, body: string): Stream.Stream<string, EtcdError> =>
    Stream.suspend(() => {
      const { endpoint, member, moved } = members.current()
      const response = withToken((token) =>
        Effect.flatMap(post(endpoint, path, body, token), (response) =>
          response.status === 200
            ? Effect.succeed(response)
            : Effect.flatMap(textOf(endpoint, response), (text) => refused(endpoint, response, text)))
      )
      return Stream.unwrap(Effect.map(response, (response) =>
        Stream.mapError(response.stream, () =>
          unreachable(endpoint, "closed the connection")))).pipe(
          Stream.decodeText,
          Stream.splitLines,
          Stream.interruptWhen(moved),
          // A member that cannot be asked is not the one to listen to either. Last, or moving on would end this in peace.
          Stream.tapError((error) =>
            Effect.sync(() => error.passes ? members.moveOn(member) : undefined)
          )
        )
    })

  return { once, ask, lines } satisfies EtcdClient
})

// The reason of a failure to connect to several addresses of a host is in none of its messages.
const causeOf = (cause: Error): string =>
  cause.message !== "" ? cause.message : String((cause as { readonly code?: unknown }).code ?? cause.name)
