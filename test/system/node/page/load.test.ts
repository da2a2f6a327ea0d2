/**
 * The page of a server that holds ten thousand names, which are renewed, taken and given back all the time.
 */
import { assert, it } from "@effect/vitest"
import { Effect } from "effect"
import * as Chromium from "../../../support/chromium.ts"
import { describeWith } from "../../../support/programs.ts"
import { report } from "../../../support/report.ts"
import { client, serve } from "./serving.ts"

const names = 10_000

/** How long this machine takes now for a fixed piece of work, in milliseconds, in the browser. */
const calibrate = (tab: Chromium.Tab) =>
  tab.evaluate<number>(`(() => {
    const times = Array.from({ length: 5 }, () => {
      const began = performance.now()
      const texts = Array.from({ length: 20_000 }, (_, i) => String((i * 7919) % 20_011))
      texts.sort()
      return performance.now() - began
    })
    return times.sort((one, other) => one - other)[2]
  })()`)

describeWith("a page of ten thousand names", Chromium.programs, () => {
  it.live("never stands still, and finds at once what is searched for", () =>
    Effect.gen(function*() {
      const { base, port } = yield* serve()
      const make = yield* client(port)
      const lockers = yield* Effect.forEach(
        Array.from({ length: names }, (_, i) => `shop/${i % 10}/order/${String(i).padStart(5, "0")}`),
        (name) => Effect.tap(make(name, "worker"), ({ lock }) => lock),
        { concurrency: 100 }
      )
      const tab = yield* Effect.flatMap(Chromium.start, ({ open }) => open(base))
      yield* tab.until(`document.querySelectorAll("#names tbody tr").length === 100`)
      const unit = yield* calibrate(tab)
      yield* tab.evaluate(`(() => {
        globalThis.longest = 0
        let last = performance.now()
        const frame = () => {
          const now = performance.now()
          globalThis.longest = Math.max(globalThis.longest, now - last)
          last = now
          setTimeout(frame)
        }
        setTimeout(frame)
      })()`)
      // A thousand of them are other tenures at each look.
      const changing = yield* Effect.forkScoped(Effect.forever(Effect.forEach(
        lockers.slice(0, 1000),
        ({ lock, unlock }) => Effect.andThen(unlock, lock),
        { concurrency: 20, discard: true }
      )))
      for (let i = 0; i < 5; i++) {
        yield* tab.evaluate(`(() => {
          const search = document.querySelector("#search")
          search.value = "shop/${i}/"
          search.dispatchEvent(new Event("input"))
        })()`)
        yield* tab.until(`document.querySelector("#names tbody a").textContent.startsWith("shop/${i}/")`, 2000)
        yield* tab.evaluate(`document.querySelectorAll("#names thead button")[${i % 5}].click()`)
        yield* Effect.sleep("1 second")
      }
      assert.isUndefined(changing.pollUnsafe())
      const longest = yield* tab.evaluate<number>("globalThis.longest")
      const most = Math.max(200, unit * 20)
      report("page", { section: "Elsewhere in the tests", file: import.meta.filename }, [{
        what: "the longest that a page of 10,000 names stood still, in ms",
        figure: Math.round(longest),
        goal: `at most ${Math.round(most)}`
      }])
      assert.isBelow(longest, most)
      assert.deepStrictEqual(tab.problems, [])
    }), 180_000)
})
