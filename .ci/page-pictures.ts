/**
 * `npm run pictures:page`: takes the pictures of docs/PAGE.md, in Chromium, of a server with some locks and those who wait.
 */
import { Effect } from "effect"
import { Lease } from "effect-dlm"
import { NodeTalker } from "effect-dlm/node"
import * as path from "node:path"
import * as Chromium from "../test/support/chromium.ts"
import { identities, serve } from "../test/system/node/page/serving.ts"

const docs = path.join(import.meta.dirname, "..", "docs")
const held = [
  "billing/close-month",
  "etl/orders/2026-11-26",
  "etl/orders/2026-11-27",
  "mail/newsletter",
  "migrations",
  "report/weekly"
]
const name = "deploy/production"

/** What makes names be held and waited for; each has a connection of its own, as programs do. */
const traffic = (port: number) => {
  const holding = (name: string, label: string, during: Effect.Effect<unknown> = Effect.never) =>
    Lease.use(name, { label, wait: "10 minutes" }, () => during).pipe(
      Effect.provide(NodeTalker.layer({ port }), { local: true }),
      Effect.scoped
    )
  const consumer = (number: number) =>
    Effect.forever(
      holding(`queue/${number % 3}`, `consumer-${number}`, Effect.sleep(150 + (number * 137) % 400)).pipe(
        Effect.delay((number * 53) % 300)
      )
    )
  return Effect.all([
    ...held.map((name, index) => Effect.forkScoped(holding(name, `worker-${index % 4 + 1}.eu`))),
    Effect.forkScoped(holding(name, "ci-runner-1")),
    ...[2, 3, 4].map((number) =>
      Effect.forkScoped(Effect.delay(holding(name, `ci-runner-${number}`), `${number * 300} millis`))
    ),
    ...Array.from({ length: 9 }, (_, number) => Effect.forkScoped(consumer(number)))
  ])
}

const take = Effect.gen(function*() {
  const { base, port } = yield* serve(["--identities", yield* identities])
  yield* traffic(port)
  const browser = yield* Chromium.start
  const list = yield* browser.open(base)
  const one = yield* browser.open(`${base}/name/${encodeURIComponent(name)}`)
  yield* one.until(`document.querySelectorAll("#queue li").length === 3`)
  // So that the plots have something to show.
  yield* Effect.sleep("100 seconds")
  yield* list.until("document.body.dataset.state === 'live'")
  for (const scheme of ["light", "dark"] as const) {
    yield* list.look(scheme, 1100, 760)
    yield* list.screenshot(path.join(docs, `page-${scheme}.webp`), "webp")
    yield* one.look(scheme, 1100, 760)
    yield* one.screenshot(path.join(docs, `page-name-${scheme}.webp`), "webp")
  }
})

await Effect.runPromise(Effect.scoped(take))
