/**
 * Chromium, as a person would use it: pages, keys and what is seen. It is driven by its own protocol (CDP) over one WebSocket.
 */
import { Effect, type Scope } from "effect"
import { type ChildProcess, spawn } from "node:child_process"
import * as fs from "node:fs"
import * as os from "node:os"
import * as path from "node:path"
import { setTimeout } from "node:timers/promises"

/** What of Debian's has it, for `describeWith`. */
export const programs = { chromium: "chromium" }

interface Message {
  readonly id?: number
  readonly method?: string
  readonly params?: unknown
  readonly sessionId?: string
  readonly result?: unknown
  readonly error?: { readonly message: string }
}

interface Sent {
  readonly resolve: (result: unknown) => void
  readonly reject: (error: Error) => void
}

/** The connection to the browser. */
class Devtools {
  private readonly socket: WebSocket
  private readonly sent = new Map<number, Sent>()
  private readonly hearing = new Set<(message: Message) => void>()
  private last = 0

  constructor(socket: WebSocket) {
    this.socket = socket
    socket.addEventListener("message", ({ data }) => {
      const message = JSON.parse(String(data)) as Message
      const waiting = message.id === undefined ? undefined : this.sent.get(message.id)
      if (waiting === undefined) return this.hearing.forEach((hear) => hear(message))
      this.sent.delete(message.id!)
      if (message.error === undefined) waiting.resolve(message.result)
      else waiting.reject(new Error(message.error.message))
    })
  }

  /** Asks for something, and gives the result. */
  send<A = Record<string, unknown>>(method: string, params: object, sessionId?: string): Promise<A> {
    const id = ++this.last
    return new Promise((resolve, reject) => {
      this.sent.set(id, { resolve: resolve as (result: unknown) => void, reject })
      this.socket.send(JSON.stringify({ id, method, params, ...(sessionId === undefined ? {} : { sessionId }) }))
    })
  }

  /** Hears of what happens. */
  on(hear: (message: Message) => void): void {
    this.hearing.add(hear)
  }
}

const flags = [
  "--headless=new",
  "--no-sandbox",
  "--no-first-run",
  "--disable-gpu",
  "--disable-dev-shm-usage",
  "--disable-background-networking",
  "--disable-component-update",
  "--disable-extensions",
  "--hide-scrollbars",
  "--remote-debugging-port=0"
]

const keys: Record<string, { readonly code: string; readonly number: number; readonly text?: string }> = {
  Tab: { code: "Tab", number: 9 },
  Enter: { code: "Enter", number: 13, text: "\r" },
  Escape: { code: "Escape", number: 27 },
  ArrowDown: { code: "ArrowDown", number: 40 },
  ArrowUp: { code: "ArrowUp", number: 38 },
  Space: { code: "Space", number: 32, text: " " }
}

/** A page that is open. What it runs runs as in the console, whatever the policy of the page. */
export class Tab {
  /** All addresses that were asked for. */
  readonly requests: Array<string> = []
  /** What the page complained of: errors, and what its policy refused. */
  readonly problems: Array<string> = []
  private readonly devtools: Devtools
  private readonly session: string

  constructor(devtools: Devtools, session: string) {
    this.devtools = devtools
    this.session = session
    devtools.on(({ method, params, sessionId }) => {
      if (sessionId !== session) return
      if (method === "Network.requestWillBeSent") {
        this.requests.push((params as { readonly request: { readonly url: string } }).request.url)
      }
      if (method === "Runtime.exceptionThrown" || method === "Page.javascriptDialogOpening") {
        this.problems.push(JSON.stringify(params))
      }
      if (method === "Log.entryAdded") {
        const { entry } = params as { readonly entry: { readonly level: string; readonly text: string } }
        if (entry.level === "error") this.problems.push(entry.text)
      }
    })
  }

  /** Asks the browser for something about this page. */
  send<A = Record<string, unknown>>(method: string, params: object = {}): Effect.Effect<A> {
    return Effect.promise(() => this.devtools.send<A>(method, params, this.session))
  }

  /** Runs an expression in the page, and gives what it comes to. */
  evaluate<A>(expression: string): Effect.Effect<A> {
    return Effect.map(
      this.send<{ readonly result: { readonly value: A }; readonly exceptionDetails?: unknown }>("Runtime.evaluate", {
        expression,
        awaitPromise: true,
        returnByValue: true
      }),
      ({ exceptionDetails, result }) => {
        if (exceptionDetails !== undefined) throw new Error(JSON.stringify(exceptionDetails))
        return result.value
      }
    )
  }

  /** Waits until an expression holds, also over the loading of another page, and gives how many milliseconds that took. */
  until(expression: string, withinMillis = 10_000): Effect.Effect<number> {
    return Effect.promise(async () => {
      const began = performance.now()
      const look = async () => {
        try {
          return await Effect.runPromise(this.evaluate<boolean>(`Boolean(${expression})`))
        } catch {
          // The page is not there, or what it is about.
          return false
        }
      }
      while (!(await look())) {
        if (performance.now() - began > withinMillis) {
          const text = await Effect.runPromise(this.evaluate<string>("document.body.innerText"))
          throw new Error(`${expression} did not come to hold:\n${text}\n${this.problems.join("\n")}`)
        }
        await setTimeout(10)
      }
      return performance.now() - began
    })
  }

  /** Opens an address, and waits until it has loaded. */
  goto(url: string): Effect.Effect<void> {
    const loaded = Effect.callback<void>((resume) => {
      this.devtools.on(({ method, sessionId }) => {
        if (method === "Page.loadEventFired" && sessionId === this.session) resume(Effect.void)
      })
    })
    return Effect.asVoid(Effect.all([loaded, this.send("Page.navigate", { url })], { concurrency: "unbounded" }))
  }

  /** Presses a key. */
  press(key: string, modifiers = 0): Effect.Effect<void> {
    const { code, number, text } = keys[key] ??
      { code: `Key${key.toUpperCase()}`, number: key.charCodeAt(0), text: key }
    const common = { key: key === "Space" ? " " : key, code, windowsVirtualKeyCode: number, modifiers }
    return Effect.andThen(
      this.send("Input.dispatchKeyEvent", { ...common, type: "keyDown", ...(text === undefined ? {} : { text }) }),
      Effect.asVoid(this.send("Input.dispatchKeyEvent", { ...common, type: "keyUp" }))
    )
  }

  /** Types a text where the focus is. */
  type(text: string): Effect.Effect<void> {
    return Effect.asVoid(this.send("Input.insertText", { text }))
  }

  /** Lets it be looked at, whatever else is open; or else only where it is in front. */
  attend(isLookedAt: boolean): Effect.Effect<void> {
    return Effect.asVoid(this.send("Emulation.setFocusEmulationEnabled", { enabled: isLookedAt }))
  }

  /** Makes it light or dark, wide or narrow. */
  look(scheme: "light" | "dark", width = 1200, height = 800): Effect.Effect<void> {
    return Effect.andThen(
      this.send("Emulation.setEmulatedMedia", {
        features: [
          { name: "prefers-color-scheme", value: scheme },
          { name: "prefers-reduced-motion", value: "reduce" }
        ]
      }),
      Effect.asVoid(
        this.send("Emulation.setDeviceMetricsOverride", { width, height, deviceScaleFactor: 1, mobile: false })
      )
    )
  }

  /** Chooses a file for an input. */
  choose(selector: string, file: string): Effect.Effect<void> {
    return Effect.gen({ self: this }, function*() {
      const { root } = yield* this.send<{ readonly root: { readonly nodeId: number } }>("DOM.getDocument")
      const { nodeId } = yield* this.send<{ readonly nodeId: number }>("DOM.querySelector", {
        nodeId: root.nodeId,
        selector
      })
      yield* this.send("DOM.setFileInputFiles", { nodeId, files: [file] })
    })
  }

  /** What is seen of it, as an image. */
  screenshot(file: string, format: "png" | "webp" = "png"): Effect.Effect<void> {
    return Effect.map(
      this.send<{ readonly data: string }>("Page.captureScreenshot", {
        format,
        ...(format === "webp" ? { quality: 90 } : {})
      }),
      ({ data }) => fs.writeFileSync(file, Buffer.from(data, "base64"))
    )
  }
}

/** A browser, with nothing in it: neither cookies nor pages. */
export interface Browser {
  /** Opens a page. */
  readonly open: (url: string) => Effect.Effect<Tab>
}

const endpointOf = (child: ChildProcess): Promise<string> =>
  new Promise((resolve, reject) => {
    let said = ""
    child.stderr!.on("data", (chunk) => {
      said += String(chunk)
      const [, endpoint] = /DevTools listening on (ws:\S+)/.exec(said) ?? []
      if (endpoint !== undefined) resolve(endpoint)
    })
    child.once("exit", () => reject(new Error(`chromium did not start: ${said}`)))
  })

const end = (child: ChildProcess, folder: string) =>
  Effect.map(
    Effect.callback<void>((resume) => {
      if (child.exitCode !== null || child.signalCode !== null) return resume(Effect.void)
      child.once("exit", () => resume(Effect.void))
      // With all that it has started.
      process.kill(-child.pid!, "SIGKILL")
    }),
    () => fs.rmSync(folder, { recursive: true, force: true, maxRetries: 10, retryDelay: 50 })
  )

const domains = ["Page", "Runtime", "Network", "Log", "DOM"]

/** Starts it, until the scope closes. */
export const start: Effect.Effect<Browser, never, Scope.Scope> = Effect.gen(function*() {
  const { child } = yield* Effect.acquireRelease(
    Effect.sync(() => {
      const folder = fs.mkdtempSync(path.join(os.tmpdir(), "dlm-chromium-"))
      const child = spawn("chromium", [...flags, `--user-data-dir=${folder}`, "about:blank"], {
        detached: true,
        stdio: ["ignore", "ignore", "pipe"]
      })
      return { child, folder }
    }),
    ({ child, folder }) => end(child, folder)
  )
  const devtools = yield* Effect.promise(async () => {
    const socket = new WebSocket(await endpointOf(child))
    await new Promise((resolve, reject) => {
      socket.addEventListener("open", resolve)
      socket.addEventListener("error", reject)
    })
    return new Devtools(socket)
  })
  return {
    open: (url) =>
      Effect.gen(function*() {
        const { sessionId } = yield* Effect.promise(async () => {
          const { targetId } = await devtools.send<{ readonly targetId: string }>("Target.createTarget", {
            url: "about:blank"
          })
          return devtools.send<{ readonly sessionId: string }>("Target.attachToTarget", { targetId, flatten: true })
        })
        const tab = new Tab(devtools, sessionId)
        for (const domain of domains) yield* tab.send(`${domain}.enable`)
        yield* tab.look("light")
        yield* tab.attend(true)
        yield* tab.goto(url)
        return tab
      })
  }
})
