/**
 * `dlm serve --http` as a real process, and how a test asks for what it serves.
 */
import { Effect, Layer } from "effect"
import { Lease, Locker } from "effect-dlm"
import { NodeTalker } from "effect-dlm/node"
import * as fs from "node:fs"
import * as http from "node:http"
import * as https from "node:https"
import * as path from "node:path"
import { temporaryFolder } from "../../../support/programs.ts"
import { startDlm } from "../../cli/processes.ts"

/** The proof of the admin, which nobody is to see elsewhere. */
export const proof = "canary-of-the-admin".padEnd(1100, "7")

/** A folder of identities: `root` may revoke, and `user` may not. */
export const identities = Effect.map(temporaryFolder("page"), (folder) => {
  fs.writeFileSync(path.join(folder, "root.cfg"), JSON.stringify({ Identity: proof, Admin: true }))
  fs.writeFileSync(path.join(folder, "user.cfg"), JSON.stringify({ Identity: proof.replaceAll("7", "8") }))
  return folder
})

/** Starts it on free ports of the loopback address. */
export const serve = Effect.fnUntraced(function*(flags: ReadonlyArray<string> = [], env: Record<string, string> = {}) {
  const process = yield* startDlm(["serve", "--port", "0", "--http", "0", ...flags], { env })
  const [, base] = yield* process.prints(/^dlm: metrics and health on (https?:\S+)\n/m)
  const [, port] = yield* process.prints(/^dlm: listening on \S+:(\d+)\n/m)
  return { process, base: base!, port: Number(port), env: { DLM_PORT: port! } }
})

/** A client in this process, for names that are held for ten minutes; each call has a connection of its own. */
export const client = Effect.fnUntraced(function*(port: number) {
  const talker = yield* Layer.build(NodeTalker.layer({ port }))
  return (name: string, label: string) =>
    Effect.orDie(Effect.provideContext(Locker.make(name, { label, ttl: "10 minutes" }), talker))
})

/** One who waits, until the scope closes. */
export const waiter = Effect.fnUntraced(function*(port: number, name: string, label: string) {
  const talker = yield* Layer.build(NodeTalker.layer({ port }))
  const waiting = Lease.use(name, { label, wait: "10 minutes" }, () => Effect.never)
  yield* Effect.forkScoped(Effect.provideContext(waiting, talker))
})

/** What came of a request. */
export interface Answer {
  readonly status: number
  readonly headers: http.IncomingHttpHeaders
  readonly body: string
}

/** Asks, with whatever headers: also those that a browser lets nobody set. */
export const ask = (
  url: string,
  options: {
    readonly method?: string
    readonly headers?: Record<string, string>
    readonly body?: string
    readonly ca?: string
  } = {}
): Effect.Effect<Answer> =>
  Effect.callback((resume) => {
    const { body, ca, headers = {}, method = "GET" } = options
    const asked = { method, headers: { connection: "close", ...headers } }
    const take = (response: http.IncomingMessage) => {
      let text = ""
      response.on("data", (chunk) => {
        text += String(chunk)
      })
      response.on("end", () =>
        resume(Effect.succeed({ status: response.statusCode!, headers: response.headers, body: text })))
    }
    const request = url.startsWith("https:")
      ? https.request(url, { ...asked, ca }, take)
      : http.request(url, asked, take)
    request.on("error", (error) =>
      resume(Effect.die(error)))
    request.end(body)
    return Effect.sync(() => request.destroy())
  })
