/**
 * What the command needs of its process: its exit status, and passing signals on.
 */
import * as Duration from "effect/Duration"
import * as Effect from "effect/Effect"
import * as Queue from "effect/Queue"
import type * as Scope from "effect/Scope"
import { writeSync } from "node:fs"
import { constants } from "node:os"

/** Sets the status that the process will end with. */
export const setExitStatus = (status: number): Effect.Effect<void> =>
  Effect.sync(() => {
    process.exitCode = status
  })

/** The status that the process would end with now. */
export const exitStatus: Effect.Effect<number> = Effect.sync(() => Number(process.exitCode ?? 0))

/** The signals that end a process, and can be caught. */
export const ending = ["SIGINT", "SIGTERM", "SIGHUP", "SIGQUIT", "SIGUSR1", "SIGUSR2"] as const

/**
 * The signals that mean something to a command. `SIGTSTP` is among them so
 * that it does not stop this process: it could not renew the lock then.
 */
const forwarded: ReadonlyArray<NodeJS.Signals> = [...ending, "SIGCONT", "SIGTSTP", "SIGWINCH"]

/** Those of them that a terminal gives to all in its foreground, and so to the command itself where it is there too. */
const ofTerminal: ReadonlySet<NodeJS.Signals> = new Set(["SIGINT", "SIGQUIT", "SIGTSTP", "SIGCONT", "SIGWINCH"])

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

const ignored = new Set<NodeJS.Signals>()
/** The signals that mean something else than their usual end, for as long as somebody hears them. */
const heard = new Set<NodeJS.Signals>()

/** While the scope lasts, a signal does not end this process, and is told. One that comes while another waits is the same. */
export const hear = (signal: NodeJS.Signals): Effect.Effect<Queue.Dequeue<void>, never, Scope.Scope> =>
  Effect.gen(function*() {
    const signals = yield* Queue.sliding<void>(1)
    yield* Effect.acquireRelease(
      Effect.sync(() => heard.add(signal)),
      () => Effect.sync(() => heard.delete(signal))
    )
    yield* listening([signal], () => void Queue.offerUnsafe(signals, undefined))
    return signals
  })

/** The signals by which a person, or the system, tells a process to end. */
const told = ["SIGINT", "SIGTERM"] as const

const lastWords = (text: string): void => {
  // Nobody may listen any more.
  try {
    writeSync(2, `dlm: ${text}\n`)
  } catch {}
}

/**
 * While the scope lasts, this process ends in time once it is told to: so long after the first such signal, whatever is not
 * done by then, with the exit status that was set; and at once by a second one, with the status of that signal. A process
 * that another one tells, besides those who tell them all, may get a signal twice that was meant once: `isToldTwice`.
 */
export const endWithin = (
  duration: Duration.Input,
  { isToldTwice }: { readonly isToldTwice: boolean } = { isToldTwice: false }
): Effect.Effect<void, never, Scope.Scope> =>
  Effect.suspend(() => {
    let isTold = false
    let timer: NodeJS.Timeout | undefined
    const end = (signal: NodeJS.Signals): void => {
      if (isTold && isToldTwice) return
      if (isTold) return process.exit(statusOfSignal(signal))
      isTold = true
      timer = setTimeout(() => {
        lastWords("something did not end in time, and is left as it is")
        process.exit()
      }, Duration.toMillis(Duration.fromInputUnsafe(duration)))
    }
    return Effect.andThen(
      Effect.addFinalizer(() => Effect.sync(() => clearTimeout(timer))),
      listening(told, end)
    )
  })

/**
 * While the scope lasts, a signal that would end this process interrupts the
 * fiber, so that it can clean up. The exit status is then what a shell makes
 * of that signal, unless another is set.
 */
export const interruptOnSignals: Effect.Effect<void, never, Scope.Scope> = Effect.withFiber((fiber) =>
  listening(ending, (signal) => {
    if (ignored.has(signal) || heard.has(signal)) return
    process.exitCode ??= statusOfSignal(signal)
    fiber.interruptUnsafe(fiber.id)
  })
)

/** From now on a signal does nothing to this process. */
export const ignoreSignal = (signal: NodeJS.Signals): Effect.Effect<void> => Effect.sync(() => void ignored.add(signal))

/** The signals that do nothing to this process. */
export const ignoredSignals: Effect.Effect<ReadonlyArray<NodeJS.Signals>> = Effect.sync(() => [...ignored])

/** How soon the same signal comes twice, in milliseconds, where a terminal and a process in front of us both give it. */
const twiceWithin = 100

/** How signals are passed on. */
export interface Passing {
  /** The command is in the foreground of the terminal, beside this process: what comes from there it has got by itself. */
  readonly isInForeground: boolean
  /** Another process, which passes its own signals on, is before this one. */
  readonly hasFront: boolean
}

/**
 * While the scope lasts, signals that mean something to a command do not act on
 * this process. They are kept until it is said how to pass them on.
 */
export const deferSignals = (
  { hasFront, isInForeground }: Passing
): Effect.Effect<(to: (signal: NodeJS.Signals) => void) => void, never, Scope.Scope> =>
  Effect.suspend(() => {
    const deferred: Array<NodeJS.Signals> = []
    const lastAt = new Map<NodeJS.Signals, number>()
    let pass = (signal: NodeJS.Signals): void => void deferred.push(signal)
    const received = (signal: NodeJS.Signals) => {
      if (ignored.has(signal) || (isInForeground && ofTerminal.has(signal))) return
      const now = performance.now()
      const isTwice = hasFront && now - (lastAt.get(signal) ?? -Infinity) < twiceWithin
      lastAt.set(signal, now)
      if (!isTwice) pass(signal)
    }
    // Without one in front this process is what the terminal stops.
    const signals = isInForeground && !hasFront ? forwarded.filter((signal) => signal !== "SIGTSTP") : forwarded
    const deaf = Effect.acquireRelease(
      Effect.sync(() => signals.forEach((signal) => heard.add(signal))),
      () => Effect.sync(() => signals.forEach((signal) => heard.delete(signal)))
    )
    return Effect.as(Effect.andThen(deaf, listening(signals, received)), (to: (signal: NodeJS.Signals) => void) => {
      pass = to
      deferred.forEach(pass)
    })
  })

/** The status by which a shell tells that a signal ended a command: 128 plus the signal's number. */
export const statusOfSignal = (signal: string): number => 128 + (constants.signals[signal as NodeJS.Signals] ?? 0)
