/**
 * A terminal as a whole: a screen that is drawn again and again, and the keys that are typed meanwhile. Whatever ends the
 * process but a KILL, its user finds the terminal as it was.
 */
import * as Effect from "effect/Effect"
import * as Queue from "effect/Queue"
import type * as Scope from "effect/Scope"
import { writeSync } from "node:fs"
import * as StandardStreams from "./StandardStreams.ts"

/** How much fits, in characters of the usual width. */
export interface Size {
  readonly columns: number
  readonly rows: number
}

/** What happens to it. */
export type Event = { readonly _tag: "Resized" } | { readonly _tag: "Typed"; readonly text: string }

/** A screen. */
export interface Screen {
  /** What happens to it. One that comes while many others wait is dropped. */
  readonly events: Queue.Dequeue<Event>
  /** Draws it anew, a line each. They fit, and there is nothing in them that a terminal would obey. */
  readonly draw: (lines: ReadonlyArray<string>) => Effect.Effect<void, StandardStreams.StreamError>
}

/** How much fits now; what a terminal has by custom where it does not tell. */
export const size: Effect.Effect<Size> = Effect.sync(() => ({
  columns: process.stdout.columns || 80,
  rows: process.stdout.rows || 24
}))

// The other screen, so that what was there before comes back; no cursor; and a line that does not fit is cut, not broken.
const enter = "\u001b[?1049h\u001b[?25l\u001b[?7l"
const leave = "\u001b[?7h\u001b[?25h\u001b[?1049l"
const home = "\u001b[H"
const clearLine = "\u001b[K"
const clearBelow = "\u001b[J"

/** Of keys that are typed at once: of a text that was pasted the rest is dropped. */
const maxEvents = 16
const stop = "\u001a"

const setRaw = (isRaw: boolean): void => {
  // Its terminal may be gone.
  try {
    if (process.stdin.isTTY) process.stdin.setRawMode(isRaw)
  } catch {}
}

const begin = (): void => {
  setRaw(true)
  StandardStreams.write(enter)
}

const end = (): void => {
  StandardStreams.write(leave)
  setRaw(false)
}

// Also where no scope is closed: after a bug, or where something did not end in time.
const endAtExit = (): void => {
  try {
    writeSync(1, leave)
  } catch {}
}

/** In so many milliseconds a process that can be stopped has been. */
const stopsWithin = 50

/** Takes the terminal, as long as the scope lasts. Standard output is one; standard input need not be. */
export const open: Effect.Effect<Screen, never, Scope.Scope> = Effect.gen(function*() {
  const events = yield* Queue.dropping<Event>(maxEvents)
  const resized = (): void => void Queue.offerUnsafe(events, { _tag: "Resized" })
  // Whoever has stopped it may have changed the terminal meanwhile.
  const continued = (): void => {
    begin()
    resized()
  }
  let goesOn: ReturnType<typeof setTimeout> | undefined
  // As a terminal does it to all in its foreground, whose own keys are typed to this process now. Where no shell could let
  // them go on, as of `ssh HOST dlm top`, the system stops none, and no signal says so.
  const suspend = (): void => {
    end()
    process.kill(0, "SIGTSTP")
    clearTimeout(goesOn)
    goesOn = setTimeout(continued, stopsWithin)
  }
  const typed = (chunk: Buffer | string): void => {
    const text = String(chunk)
    if (text.includes(stop)) return suspend()
    Queue.offerUnsafe(events, { _tag: "Typed", text })
  }
  const { stdin, stdout } = process
  const hasKeys = stdin.isTTY
  yield* Effect.acquireRelease(
    Effect.sync(() => {
      process.on("exit", endAtExit)
      process.on("SIGCONT", continued)
      stdout.on("resize", resized)
      if (hasKeys) stdin.on("data", typed)
      begin()
    }),
    () =>
      Effect.sync(() => {
        clearTimeout(goesOn)
        end()
        process.off("exit", endAtExit)
        process.off("SIGCONT", continued)
        stdout.off("resize", resized)
        if (hasKeys) stdin.off("data", typed).pause()
      })
  )
  return {
    events,
    draw: (lines) =>
      Effect.suspend(() => {
        StandardStreams.write(home + lines.map((line) => line + clearLine).join("\r\n") + clearBelow)
        return StandardStreams.flushed
      })
  }
})
