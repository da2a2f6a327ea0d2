/**
 * A process before this one, where one is needed: as the first process of a container, and before a command in the
 * foreground of a terminal.
 *
 * - The first process is the parent of all whose own has ended, and has to ask for their status when they end, or they stay
 *   for ever. Node asks only for what it has started itself.
 * - Ctrl-Z gives the terminal back only when the process that the user's shell has started stops. This process must not:
 *   it could not renew the lock then.
 *
 * So this process becomes `sh`, which starts it anew as its child, passes its signals on, and ends with its status.
 */
import * as Effect from "effect/Effect"
import type * as Scope from "effect/Scope"
import type * as ProcessTable from "./ProcessTable.ts"
import * as Shell from "./Shell.ts"

/** By this variable the one behind knows the one in front, by its number. */
const variable = "DLM_FRONT"

/** The number of the process in front of this one; undefined where there is none. */
export const pid: number | undefined = process.env[variable] === String(process.ppid) ? process.ppid : undefined

/** The variables of this process, without what is between it and the one in front. */
export const variables = (): Record<string, string | undefined> => ({ ...process.env, [variable]: undefined })

// A signal that comes before the child is there waits for it. `wait` ends early on each signal.
const script = `exec 3<&0
child=
early=
pass() { passed=1; if [ -n "$child" ]; then kill -s "$1" "$child" 2>/dev/null; else early="$early $1"; fi; }
for signal in INT TERM HUP QUIT USR1 USR2 CONT TSTP WINCH; do trap "pass $signal" "$signal"; done
${variable}=$$ "$@" <&3 3<&- &
child=$!
for signal in $early; do kill -s "$signal" "$child" 2>/dev/null; done
while :; do
  passed=
  wait "$child"
  status=$?
  [ -n "$passed" ] || exit "$status"
done
`

/** Puts a process in front, where this one is the first or is to be in a terminal. Then it begins anew, and does not come back. */
export const enter = (options: { readonly isInForeground: boolean }): Effect.Effect<void> =>
  Effect.sync(() => {
    if (pid !== undefined || !(options.isInForeground || process.pid === 1)) return
    // Older versions of Node have none.
    const execve = (process as { readonly execve?: NodeJS.Process["execve"] }).execve
    const carried = Shell.isThere() ? Shell.carry(process.env, process.execPath) : undefined
    if (execve === undefined || carried === undefined) return
    const again = [process.execPath, ...process.execArgv, ...process.argv.slice(1)]
    execve(Shell.path, ["sh", "-c", carried.script + script, "dlm", ...again], carried.env)
  })

const lookEveryMillis = 100

/**
 * While the scope lasts, the process in front stops whenever the command does, so that the terminal is given back. Before
 * there is a command it stops at Ctrl-Z. This process goes on.
 */
export const stopWith = (
  command: () => ProcessTable.Entry | undefined | "None"
): Effect.Effect<void, never, Scope.Scope> =>
  Effect.asVoid(Effect.acquireRelease(
    Effect.sync(() => {
      if (pid === undefined) return () => {}
      let hasStopped = false
      const stop = () => {
        hasStopped = true
        if (process.ppid === pid) process.kill(pid, "SIGSTOP")
      }
      const look = () => {
        const found = command()
        if (found === "None") return
        if (found?.state !== "T") hasStopped = false
        else if (!hasStopped) stop()
      }
      const onStop = () => command() === "None" ? stop() : undefined
      const timer = setInterval(look, lookEveryMillis)
      process.on("SIGTSTP", onStop)
      return () => {
        clearInterval(timer)
        process.off("SIGTSTP", onStop)
      }
    }),
    (end) => Effect.sync(end)
  ))
