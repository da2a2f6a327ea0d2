/**
 * What is shown of processes while they play: on a terminal a bar for each, which grows with time; elsewhere a line for
 * what each does.
 */
import { Array, Clock, Console, Effect, Stdio, Terminal } from "effect"

/** What a process does, as it is drawn. */
const drawn = { waits: "·", holds: "█", paused: "░", gone: " " } as const

/** What a process does. */
export type Doing = keyof typeof drawn

const frameMillis = 100

/** A stage for some processes, until the scope closes. */
export const make = Effect.fnUntraced(function*(names: ReadonlyArray<string>) {
  const { stdoutIsTerminal } = yield* Stdio.Stdio
  const { display } = yield* Terminal.Terminal
  const isTerminal = yield* stdoutIsTerminal
  const began = yield* Clock.currentTimeMillis
  const rows = new Map(names.map((name) => [name, { doing: "waits" as Doing, bar: "", note: "" }]))

  const show = Effect.orDie(Effect.suspend(() =>
    display(
      Array.map(names, (name) => {
        const { bar, note } = rows.get(name)!
        return `  ${name}  ${bar}  ${note}\x1b[K\n`
      }).join("")
    )
  ))
  const frame = Effect.suspend(() => {
    for (const row of rows.values()) row.bar += drawn[row.doing]
    return Effect.andThen(Effect.orDie(display(`\x1b[${names.length}A`)), show)
  })
  if (isTerminal) {
    yield* show
    yield* Effect.addFinalizer(() => frame)
    yield* Effect.forkScoped(Effect.forever(Effect.delay(frame, frameMillis)))
  }

  /** A process does something else from now on; `note` says it in words. */
  return Effect.fnUntraced(function*(name: string, doing: Doing, note: string) {
    const row = rows.get(name)!
    row.doing = doing
    row.note = note
    if (isTerminal) return
    const seconds = ((yield* Clock.currentTimeMillis) - began) / 1000
    yield* Console.log(`  ${seconds.toFixed(1)} s  ${name} ${note}`)
  })
})
