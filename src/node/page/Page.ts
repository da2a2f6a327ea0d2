/**
 * The page of a server, for its operators: which names are held, by whom, and who waits.
 *
 * It asks the LockServer by the requests of the protocol, as any client may. Only to revoke it needs more: the proof of an
 * identity that may, which whoever revokes gives each time.
 */
import * as NodeHttpServerRequest from "@effect/platform-node/NodeHttpServerRequest"
import * as ByteSize from "effect/ByteSize"
import * as Effect from "effect/Effect"
import * as HttpIncomingMessage from "effect/http/HttpIncomingMessage"
import * as HttpRouter from "effect/http/HttpRouter"
import * as HttpServerRequest from "effect/http/HttpServerRequest"
import * as HttpServerResponse from "effect/http/HttpServerResponse"
import type * as Layer from "effect/Layer"
import * as Schema from "effect/Schema"
import * as Stream from "effect/Stream"
import type { LockServer } from "../../server/LockServer.ts"
import type { Access } from "./Access.ts"
import { guarded, html, plain } from "./answers.ts"
import * as Asking from "./Asking.ts"
import type { RevokingDone } from "./browser/Told.ts"
import { beginning, eventText, sign, signEvery } from "./events.ts"
import { moduleText } from "./files.ts"
import * as Html from "./html.ts"
import * as OneName from "./OneName.ts"
import { style } from "./style.ts"
import * as Watching from "./Watching.ts"

type Answer = HttpServerResponse.HttpServerResponse

const eventStream = (texts: Stream.Stream<string>): Answer =>
  guarded(HttpServerResponse.stream(
    Stream.encodeText(Stream.concat(
      Stream.make(beginning),
      Stream.merge(texts, Stream.map(Stream.tick(signEvery), () => sign), { haltStrategy: "left" })
    )),
    { contentType: "text/event-stream" }
  ))

/** The stream of events: of one name, or of all names that begin so. */
const events = (handle: Asking.Handle, watching: Watching.Watching) =>
  Effect.gen(function*() {
    const request = yield* HttpServerRequest.HttpServerRequest
    const asked = new URLSearchParams(request.url.split("?")[1] ?? "")
    if (!(yield* watching.place)) {
      return plain(503, `${Watching.maxStreams} pages watch already: close one, and this one goes on`)
    }
    const name = asked.get("name")
    const server = yield* Asking.server(handle)
    // What a client does not take is on its way, so only the end of the connection ends it.
    const drop = () => void NodeHttpServerRequest.toServerResponse(request).destroy()
    const texts = name === null
      ? yield* watching.watch(asked.get("prefix") ?? "", drop)
      : OneName.watch(handle, name)
    return eventStream(Stream.concat(Stream.make(eventText("server", server)), texts))
  })

const Revoking = Schema.Struct({
  name: Schema.String,
  fence: Schema.optionalKey(Schema.String.check(Schema.isPattern(/^\d{1,39}$/))),
  identity: Schema.String,
  proof: Schema.String,
  reason: Schema.String,
  force: Schema.Boolean
})

const decodeRevoking = HttpServerRequest.schemaBodyJson(Revoking)

/** The longest request to revoke: a proof may be as long as an identity's file. */
const maxRevoking = ByteSize.kibibytes(64)

const done = (done: RevokingDone): Answer =>
  guarded(HttpServerResponse.jsonUnsafe(done, { status: done.isDone ? 200 : 409 }))

const revoke = (handle: Asking.Handle) =>
  decodeRevoking.pipe(
    Effect.provideService(HttpIncomingMessage.MaxBodySize, maxRevoking),
    Effect.matchEffect({
      // The cause would show what was sent, and so the proof.
      onFailure: () => Effect.succeed(plain(400, "that is no request to revoke")),
      onSuccess: (asked) => Effect.map(Asking.revoke(handle, asked), done)
    })
  )

const moduleOf = Effect.gen(function*() {
  const { file = "" } = yield* HttpRouter.params
  const text = yield* moduleText(file)
  return text === undefined
    ? plain(404, `there is no ${file} beside the program: a bundle of it needs dist/node/page/browser beside itself`)
    : guarded(HttpServerResponse.text(text, { contentType: "text/javascript; charset=utf-8" }))
})

/** What is served of the page. */
export const layer = (
  access: Access,
  { handle }: LockServer["Service"]
): Layer.Layer<never, never, HttpRouter.HttpRouter> =>
  HttpRouter.use((router) =>
    Effect.gen(function*() {
      const watching = yield* Watching.make(handle)
      const page = access.page(Effect.succeed(html(Html.page(access.hasToken))))
      const css = guarded(HttpServerResponse.text(style, { contentType: "text/css; charset=utf-8" }))
      yield* router.add("GET", "/", page)
      yield* router.add("GET", "/name/*", page)
      yield* router.add("GET", "/page/style.css", access.open(Effect.succeed(css)))
      yield* router.add("GET", "/page/:file", access.open(moduleOf))
      yield* router.add("GET", "/events", access.data(events(handle, watching)))
      yield* router.add("POST", "/revoke", access.change(revoke(handle)))
      if (!access.hasToken) return
      yield* router.add("POST", "/enter", access.enter)
      yield* router.add("POST", "/leave", access.leave)
    })
  )
