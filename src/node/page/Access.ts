/**
 * Who may have the page. With a token: whoever shows it. Without: whoever is on this machine, so that it is only served where no
 * other machine can reach it.
 */
import * as ByteSize from "effect/ByteSize"
import * as Effect from "effect/Effect"
import * as HttpIncomingMessage from "effect/http/HttpIncomingMessage"
import * as HttpServerRequest from "effect/http/HttpServerRequest"
import * as HttpServerResponse from "effect/http/HttpServerResponse"
import { guarded, html, plain } from "./answers.ts"
import * as Html from "./html.ts"
import * as Origin from "./origin.ts"
import { bearerOf, type Token } from "./Token.ts"

type Answer = HttpServerResponse.HttpServerResponse
type Request = HttpServerRequest.HttpServerRequest
/** Answers a request. */
type Handler<E, R> = Effect.Effect<Answer, E, R>
type Guarded = <E, R>(handler: Handler<E, R>) => Effect.Effect<Answer, E, R | Request>

/** What lets requests through to what answers them, or answers them itself. */
export interface Access {
  /** Whether there is a token. */
  readonly hasToken: boolean
  /** What anybody may have who may ask at all. */
  readonly open: Guarded
  /** What a program asks for, and scrapers of metrics do. */
  readonly program: Guarded
  /** A page: without the token there is the form that asks for it. */
  readonly page: Guarded
  /** What a page asks for. */
  readonly data: Guarded
  /** What changes something. */
  readonly change: Guarded
  /** Takes the token from its form, and lets the browser in. */
  readonly enter: Effect.Effect<Answer, never, Request>
  /** Lets the browser in no more. */
  readonly leave: Effect.Effect<Answer, never, Request>
}

const notHere = plain(
  421,
  "this is served to this machine alone, as localhost, 127.0.0.1 or [::1]. To reach it by another name start it with --http-token"
)
const elsewhere = plain(403, "a page of another site may not ask for this")
const noToken = HttpServerResponse.setHeader(
  plain(401, "this needs the token of --http-token, as: Authorization: Bearer TOKEN"),
  "www-authenticate",
  "Bearer"
)

/** The longest form with a token, and so the longest token there is some sense in. */
const maxForm = ByteSize.kibibytes(8)

/** Makes it. `isTls` says whether what is asked comes over TLS to this server. */
export const make = (token: Token | undefined, isTls: boolean): Access => {
  // By such a name a browser takes it over TLS only, and from no other host.
  const cookie = isTls ? "__Host-dlm" : "dlm"
  const options = { httpOnly: true, sameSite: "strict", path: "/", secure: isTls } as const

  const isLetIn = (request: Request): Effect.Effect<boolean> => {
    if (token === undefined) return Effect.succeed(true)
    const bearer = bearerOf(request.headers["authorization"])
    if (bearer !== undefined) return token.isToken(bearer)
    const session = request.cookies[cookie]
    return session === undefined ? Effect.succeed(false) : token.isSession(session)
  }
  const guarding = (
    refuses: (headers: Origin.Headers) => Answer | undefined,
    orElse: Answer | undefined
  ): Guarded =>
  (handler) =>
    Effect.flatMap(HttpServerRequest.HttpServerRequest, (request) => {
      const refused = refuses(request.headers)
      if (refused !== undefined) return Effect.succeed(refused)
      if (orElse === undefined) return handler
      return Effect.flatMap(isLetIn(request), (isLetIn) => isLetIn ? handler : Effect.succeed(orElse))
    })
  const wrongHost = (headers: Origin.Headers): Answer | undefined =>
    token === undefined && !Origin.isOfThisMachine(headers) ? notHere : undefined
  const asked = (headers: Origin.Headers): Answer | undefined =>
    wrongHost(headers) ?? (Origin.isFromElsewhere(headers) ? elsewhere : undefined)
  const posted = (headers: Origin.Headers): Answer | undefined =>
    wrongHost(headers) ?? (Origin.mayBeFromOurs(headers) ? undefined : elsewhere)
  const changed = (headers: Origin.Headers): Answer | undefined =>
    wrongHost(headers) ?? (Origin.isFromOurs(headers) ? undefined : elsewhere)

  const to = (response: Answer): Answer => guarded(HttpServerResponse.setHeader(response, "location", "/"))
  const seeOther = HttpServerResponse.empty({ status: 303 })
  const enter = HttpServerRequest.HttpServerRequest.pipe(
    Effect.flatMap(({ urlParamsBody }) => urlParamsBody),
    Effect.provideService(HttpIncomingMessage.MaxBodySize, maxForm),
    Effect.map((form) => form.params.find(([name]) => name === "token")?.[1]),
    Effect.orElseSucceed(() => undefined),
    Effect.flatMap((shown) =>
      token === undefined || typeof shown !== "string" ? Effect.succeed(false) : token.isToken(shown)
    ),
    Effect.map((isRight) =>
      isRight && token !== undefined
        ? to(HttpServerResponse.setCookieUnsafe(seeOther, cookie, token.session, options))
        : html(Html.asking(true), 401)
    )
  )
  return {
    hasToken: token !== undefined,
    open: guarding(asked, undefined),
    program: guarding(() => undefined, noToken),
    page: guarding(asked, html(Html.asking(false), 401)),
    data: guarding(asked, noToken),
    change: guarding(changed, noToken),
    // Neither does harm to a browser that is let in: of a page of another site it sends no cookie.
    enter: guarding(posted, undefined)(enter),
    leave: guarding(posted, noToken)(
      Effect.sync(() => to(HttpServerResponse.expireCookieUnsafe(seeOther, cookie, options)))
    )
  }
}
