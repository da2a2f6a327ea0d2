/**
 * What the command needs of its process: its exit status, and passing signals on.
 */
import * as Effect from "effect/Effect"
import type * as Scope from "effect/Scope"
import { constants } from "node:os"

/** Sets the status that the process will end with. */
export const setExitStatus = (status: number): Effect.Effect<void> =>
  Effect.sync(() => {
    process.exitCode = status
  })

/** The signals that mean something to a command, and can be caught. */
const forwarded = ["SIGINT", "SIGTERM", "SIGHUP", "SIGQUIT", "SIGUSR1", "SIGUSR2", "SIGCONT", "SIGWINCH"] as const

/** Passes on to a process group whatever signal this process gets, while the scope lasts. */
export const forwardSignals = (groupId: number): Effect.Effect<void, never, Scope.Scope> =>
  Effect.asVoid(Effect.acquireRelease(
    Effect.sync(() => {
      const forward = (signal: NodeJS.Signals) => {
        // The group may have ended in this moment.
        try {
          process.kill(-groupId, signal)
        } catch {}
      }
      for (const signal of forwarded) process.on(signal, forward)
      return forward
    }),
    (forward) =>
      Effect.sync(() => {
        for (const signal of forwarded) process.off(signal, forward)
      })
  ))

/** The status by which a shell tells that a signal ended a command: 128 and its number. */
export const statusOfSignal = (signal: string): number => 128 + (constants.signals[signal as NodeJS.Signals] ?? 0)
