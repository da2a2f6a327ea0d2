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

/** The signals that end a process, and can be caught. */
const ending = ["SIGINT", "SIGTERM", "SIGHUP", "SIGQUIT", "SIGUSR1", "SIGUSR2"] as const

/**
 * The signals that mean something to a command. `SIGTSTP` is among them so
 * that it does not stop this process: it could not renew the lock then.
 */
const forwarded = [...ending, "SIGCONT", "SIGTSTP", "SIGWINCH"] as const

const listening = (signals: ReadonlyArray<NodeJS.Signals>, listener: (signal: NodeJS.Signals) => void) =>
  Effect.acquireRelease(
    Effect.sync(() => {
      // Before all other listeners: runMain's ends the process on some of these signals.
      for (const signal of signals) process.prependListener(signal, listener)
    }),
    () =>
      Effect.sync(() => {
        for (const signal of signals) process.off(signal, listener)
      })
  )

/**
 * While the scope lasts, a signal that would end this process interrupts the
 * fiber, so that it can clean up. The exit status is then what a shell makes
 * of that signal, unless another is set.
 */
export const interruptOnSignals: Effect.Effect<void, never, Scope.Scope> = Effect.withFiber((fiber) =>
  listening(ending, (signal) => {
    process.exitCode ??= statusOfSignal(signal)
    fiber.interruptUnsafe(fiber.id)
  })
)

/**
 * While the scope lasts, signals that mean something to a command do not act on
 * this process. They are kept until a process group is named, and passed on to it.
 */
export const deferSignals: Effect.Effect<(groupId: number) => void, never, Scope.Scope> = Effect.suspend(() => {
  const deferred: Array<NodeJS.Signals> = []
  let pass = (signal: NodeJS.Signals): void => void deferred.push(signal)
  return Effect.as(listening(forwarded, (signal) => pass(signal)), (groupId: number) => {
    pass = (signal) => {
      // The group may have ended by now: `kill` throws then.
      try {
        process.kill(-groupId, signal)
      } catch {}
    }
    deferred.forEach(pass)
  })
})

/** The status by which a shell tells that a signal ended a command: 128 plus the signal's number. */
export const statusOfSignal = (signal: string): number => 128 + (constants.signals[signal as NodeJS.Signals] ?? 0)
