/**
 * The page as a person has it: in Chromium, over a server and clients that are processes of their own.
 */
import { assert, describe, it } from "@effect/vitest"
import axe from "axe-core"
import { Effect, Schedule } from "effect"
import * as path from "node:path"
import { pathOf } from "../../../../src/node/page/browser/paths.ts"
import { visible } from "../../../../src/node/page/browser/visible.ts"
import * as Chromium from "../../../support/chromium.ts"
import { describeWith } from "../../../support/programs.ts"
import { startDlm } from "../../cli/processes.ts"
import { client, identities, proof, serve, waiter } from "./serving.ts"

/** The row of a name, as an expression in the page. */
const row = (name: string) =>
  `Array.from(document.querySelectorAll("#names tbody tr")).find((row) => row.querySelector("th").textContent === ${
    JSON.stringify(name)
  })`

const waitingOf = (name: string) => `${row(name)}?.querySelector(".waiting").textContent`

/** The problems that axe-core sees, each in one line. */
const problemsOf = (tab: Chromium.Tab) =>
  Effect.gen(function*() {
    yield* tab.evaluate(`${axe.source}; undefined`)
    return yield* tab.evaluate<ReadonlyArray<string>>(
      `axe.run().then(({ violations }) => violations.flatMap(({ id, nodes }) =>
        nodes.map((node) => id + ": " + node.html.slice(0, 200) + " " + node.failureSummary)))`
    )
  })

/** Holds what is seen now to axe-core, light and dark, wide and narrow. */
const assertAccessible = (tab: Chromium.Tab, what: string) =>
  Effect.forEach(["light", "dark"] as const, (scheme) =>
    Effect.forEach([1200, 390], (width) =>
      Effect.gen(function*() {
        yield* tab.look(scheme, width)
        assert.deepStrictEqual(yield* problemsOf(tab), [], `${what}, ${scheme}, ${width}`)
        const wider = yield* tab.evaluate<number>("document.documentElement.scrollWidth - innerWidth")
        assert.isAtMost(wider, 0, `${what} is wider than ${width}`)
      }).pipe(Effect.ensuring(tab.look("light")))))

const isLive = "document.body.dataset.state === 'live'"

const hostile = [
  "<img src=x onerror=alert(1)>",
  "</script><script>alert(1)</script>",
  "\"'`><svg onload=alert(1)>",
  "javascript:alert(1)",
  "a\u202etxt.exe",
  "two\nlines",
  "nul\0nul",
  "..",
  "a/../b?c#d",
  "é".repeat(256)
]

describeWith("the page in a browser", Chromium.programs, () => {
  it.live(
    "has a lock that a process takes within a second, who waits for it, and that it is free",
    () =>
      Effect.gen(function*() {
        const { base, env, port } = yield* serve()
        const browser = yield* Chromium.start
        const tab = yield* browser.open(base)
        yield* tab.until(`${isLive} && document.querySelector("#empty-title").textContent === "No name is held"`)
        const holder = yield* startDlm(["run", "deploy", "--label", "host-a", "--", "sh", "-c", "echo in; sleep 600"], {
          env
        })
        yield* holder.prints(/^in$/m)
        assert.isBelow(yield* tab.until(row("deploy")), 1000)
        assert.strictEqual(yield* tab.evaluate(`${row("deploy")}.querySelector(".holder").textContent`), "host-a")
        const observer = yield* Effect.flatMap(client(port), (make) => make("deploy", "observer"))
        const waiter = yield* startDlm([
          "run",
          "deploy",
          "--label",
          "host-b",
          "--wait",
          "5m",
          "--",
          "sh",
          "-c",
          "echo in; sleep 600"
        ], { env })
        yield* Effect.repeat(Effect.orDie(observer.describe), {
          until: ({ waiting }) => waiting === 1,
          schedule: Schedule.spaced("10 millis")
        })
        assert.isBelow(yield* tab.until(`${waitingOf("deploy")} === "1"`), 1000)
        const one = yield* browser.open(base + pathOf("deploy"))
        yield* one.until(`document.querySelector("#queue").textContent.includes("host-b")`)
        assert.match(yield* one.evaluate<string>(`document.querySelector("#holders").textContent`), /^host-a/)
        // It runs down by itself.
        yield* one.until(`(() => {
        const now = document.querySelector("[data-ends]").textContent
        globalThis.seen ??= now
        return now !== globalThis.seen
      })()`)
        yield* holder.signal("SIGTERM")
        yield* waiter.prints(/^in$/m)
        assert.isBelow(yield* one.until(`document.querySelector("#holders").textContent.startsWith("host-b")`), 1000)
        assert.isBelow(yield* tab.until(`${row("deploy")}?.querySelector(".holder").textContent === "host-b"`), 1000)
        yield* waiter.signal("SIGTERM")
        yield* waiter.ended
        assert.isBelow(yield* tab.until(`!(${row("deploy")})`), 1000)
        yield* one.until(`document.querySelector("#held").textContent === "free"`)
        assert.deepStrictEqual([...tab.problems, ...one.problems], [])
      }),
    120_000
  )

  it.live(
    "shows whatever name and label as text, on a page of its own, and asks nobody but its server",
    () =>
      Effect.gen(function*() {
        const { base, port } = yield* serve()
        const make = yield* client(port)
        for (const name of hostile) yield* Effect.flatMap(make(name, name.slice(0, 128)), ({ lock }) => lock)
        const browser = yield* Chromium.start
        const tab = yield* browser.open(base)
        yield* tab.until(`document.querySelectorAll("#names tbody tr").length === ${hostile.length}`)
        const texts = yield* tab.evaluate<ReadonlyArray<string>>(
          `Array.from(document.querySelectorAll("#names tbody th"), (cell) => cell.textContent)`
        )
        const bare = (text: string) => visible(text).replaceAll(/[⟨⟩]/g, "")
        assert.sameMembers([...texts], hostile.map(bare))
        const one = yield* browser.open("about:blank")
        for (const name of hostile) {
          const link = `${row(bare(name))}.querySelector("a").href`
          const address = yield* tab.evaluate<string>(link)
          yield* one.goto(address)
          yield* one.until(`document.querySelector("#holders li")`)
          assert.strictEqual(yield* one.evaluate(`document.querySelector("h1#name").textContent`), bare(name))
          assert.strictEqual(
            yield* one.evaluate(`document.querySelector("#holders .who").textContent`),
            bare(name.slice(0, 128))
          )
          assert.strictEqual(
            yield* one.evaluate(`document.querySelectorAll("main img, main svg[onload], main script").length`),
            0
          )
          assert.deepStrictEqual(one.problems, [], name)
        }
        assert.deepStrictEqual(tab.problems, [])
        const requests = [...tab.requests, ...one.requests]
        assert.deepStrictEqual(requests.filter((url) => !url.startsWith(`${base}/`) && url !== "data:,"), [])
        assert.isAbove(requests.length, 100)
      }),
    120_000
  )

  it.live("hears nothing while it is not looked at, and all that it has missed then", () =>
    Effect.gen(function*() {
      const { base, port } = yield* serve()
      const browser = yield* Chromium.start
      const tab = yield* browser.open(base)
      yield* tab.until(isLive)
      yield* tab.attend(false)
      yield* browser.open("about:blank")
      yield* tab.until("document.body.dataset.state === 'paused'")
      yield* Effect.flatMap(Effect.flatMap(client(port), (make) => make("missed", "me")), ({ lock }) => lock)
      yield* tab.attend(true)
      yield* tab.until(`${isLive} && ${row("missed")}`)
    }), 60_000)

  it.live("is refused what its policy does not name", () =>
    Effect.gen(function*() {
      const { base } = yield* serve()
      const tab = yield* Effect.flatMap(Chromium.start, ({ open }) => open(base))
      yield* tab.until(isLive)
      yield* tab.evaluate(`(() => {
        const script = document.createElement("script")
        script.textContent = "globalThis.ran = true"
        document.body.append(script)
        const image = document.createElement("img")
        image.src = "http://127.0.0.1:1/x.png"
        document.body.append(image)
      })()`)
      yield* Effect.repeat(Effect.sync(() => tab.problems.length), {
        until: (count) => count >= 2,
        schedule: Schedule.spaced("20 millis")
      }).pipe(Effect.timeout("5 seconds"))
      assert.strictEqual(yield* tab.evaluate("globalThis.ran ?? false"), false)
      assert.isTrue(tab.problems.every((problem) => /Content Security Policy/.test(problem)), tab.problems.join("\n"))
    }), 60_000)

  it.live("can be used by the keyboard alone", () =>
    Effect.gen(function*() {
      const { base, port } = yield* serve(["--identities", yield* identities])
      const make = yield* client(port)
      for (const name of ["b/2", "a/1", "b/1"]) yield* Effect.flatMap(make(name, "host-a"), ({ lock }) => lock)
      const tab = yield* Effect.flatMap(Chromium.start, ({ open }) => open(base))
      yield* tab.until(row("b/2"))
      yield* tab.press("/")
      assert.strictEqual(yield* tab.evaluate("document.activeElement.id"), "search")
      yield* tab.type("b/")
      yield* tab.until(`document.querySelectorAll("#names tbody tr").length === 2`)
      yield* tab.press("ArrowDown")
      yield* tab.press("ArrowDown")
      assert.strictEqual(yield* tab.evaluate("document.activeElement.textContent"), "b/2")
      assert.notStrictEqual(yield* tab.evaluate("getComputedStyle(document.activeElement).outlineStyle"), "none")
      yield* tab.press("Enter")
      yield* tab.until(`location.pathname === "/name/b%2F2" && document.querySelector("#holders button")`)
      yield* tab.evaluate(`document.querySelector("#holders button").focus()`)
      yield* tab.press("Enter")
      yield* tab.until(`document.querySelector("#revoke").open`)
      // What is behind the dialog cannot be reached.
      for (let i = 0; i < 12; i++) {
        yield* tab.press("Tab")
        const isWithin = yield* tab.evaluate(
          `document.activeElement === document.body || document.querySelector("#revoke").contains(document.activeElement)`
        )
        assert.isTrue(isWithin)
      }
      yield* tab.press("Escape")
      yield* tab.until(`!document.querySelector("#revoke").open && document.activeElement.textContent === "Revoke…"`)
    }), 60_000)

  it.live(
    "revokes by the proof of an admin alone, with a reason, and keeps the proof nowhere",
    () =>
      Effect.gen(function*() {
        const folder = yield* identities
        const { base, port, process } = yield* serve(["--identities", folder, "--log-level", "trace"])
        const make = yield* client(port)
        const locker = yield* make("nightly", "host-a")
        yield* locker.lock
        const tab = yield* Effect.flatMap(Chromium.start, ({ open }) => open(base + pathOf("nightly")))
        const open = Effect.andThen(
          tab.until(`document.querySelector("#holders button")`),
          tab.evaluate(`document.querySelector("#holders button").click()`)
        )
        const ask = (file: string, reason: string) =>
          Effect.gen(function*() {
            yield* tab.choose("#identity-file", path.join(folder, file))
            yield* tab.until(
              `document.querySelector("#identity-name").value === ${JSON.stringify(file.replace(".cfg", ""))}`
            )
            yield* tab.evaluate(`document.querySelector("#reason").value = ${JSON.stringify(reason)}`)
            yield* tab.evaluate(`document.querySelector("#revoke-submit").click()`)
          })
        yield* open
        yield* ask("user.cfg", "not mine")
        yield* tab.until(`document.querySelector("#revoke-answer").textContent.startsWith("Refused")`)
        yield* ask("root.cfg", "the host <b>is gone</b>")
        yield* tab.until(`document.querySelector(".revoked")?.textContent.includes("the host <b>is gone</b>")`)
        assert.isFalse(yield* tab.evaluate(`document.querySelector("#revoke").open`))
        assert.deepStrictEqual(
          yield* tab.evaluate(
            `[document.querySelector("#identity-file").files.length, document.querySelector("#identity-proof").value]`
          ),
          [0, ""]
        )
        yield* open
        yield* tab.evaluate(`document.querySelector("#force").click()`)
        assert.strictEqual(yield* tab.evaluate(`document.querySelector("#revoke-submit").textContent`), "Free it now")
        yield* ask("root.cfg", "at once")
        yield* tab.until(`document.querySelector("#held").textContent === "free"`)
        assert.match(yield* tab.evaluate<string>(`document.querySelector("#done").textContent`), /may still be at work/)
        assert.notInclude(tab.requests.join(), proof.slice(0, 19))
        assert.strictEqual(
          yield* tab.evaluate("localStorage.length + sessionStorage.length + document.cookie.length"),
          0
        )
        yield* process.signal("SIGTERM")
        const ended = yield* process.ended
        assert.notInclude(ended.stdout + ended.stderr, proof.slice(0, 19))
        assert.match(ended.stderr, /root revoked the tenure/)
      }),
    90_000
  )

  it.live("asks for the token once, which no script sees, and goes on with it", () =>
    Effect.gen(function*() {
      const token = "a-token-that-nobody-guesses"
      const { base } = yield* serve([], { DLM_HTTP_TOKEN: token })
      const tab = yield* Effect.flatMap(Chromium.start, ({ open }) => open(base))
      yield* assertAccessible(tab, "the form for the token")
      const enter = (text: string) =>
        Effect.gen(function*() {
          yield* tab.evaluate(`document.querySelector("#token").focus()`)
          yield* tab.type(text)
          yield* tab.press("Enter")
        })
      yield* enter("another-token-of-somebody")
      yield* tab.until(`document.querySelector("#wrong")`)
      yield* enter(token)
      yield* tab.until(isLive)
      assert.strictEqual(yield* tab.evaluate("document.cookie"), "")
      yield* tab.goto(base + pathOf("a"))
      yield* tab.until(isLive)
      assert.notInclude(tab.requests.join(), token)
      yield* tab.evaluate(`document.querySelector("header button").click()`)
      yield* tab.until(`document.querySelector("#token")`)
    }), 90_000)

  it.live("has nothing that axe-core finds, light and dark, wide and narrow", () =>
    Effect.gen(function*() {
      const { base, port } = yield* serve(["--identities", yield* identities])
      const browser = yield* Chromium.start
      const tab = yield* browser.open(base)
      yield* tab.until(`!document.querySelector("#empty").hidden`)
      yield* assertAccessible(tab, "no names")
      const make = yield* client(port)
      for (let i = 0; i < 120; i++) {
        yield* Effect.flatMap(make(`orders/${i}`, `worker-${i}`), ({ lock }) => lock)
      }
      yield* waiter(port, "orders/0", "waiter")
      yield* tab.until(
        `${waitingOf("orders/0")} === "1" && document.querySelectorAll("#names tbody tr").length === 100`
      )
      yield* assertAccessible(tab, "names")
      const one = yield* browser.open(base + pathOf("orders/0"))
      yield* one.until(`document.querySelector("#holders button")`)
      yield* assertAccessible(one, "a name")
      yield* one.evaluate(`document.querySelector("#holders button").click()`)
      yield* one.until(`document.querySelector("#revoke").open`)
      yield* assertAccessible(one, "the dialog")
    }), 120_000)
})

describe("Chromium", () => {
  it("is what Debian's package has", () => assert.deepStrictEqual(Chromium.programs, { chromium: "chromium" }))
})
