/**
 * `dlm run --once-per`: a command that is started at most once in so long, over all processes.
 *
 * That it was started is a lock of its own beside that of the name, `NAME#once`, which nobody gives back and nobody renews: it
 * ends by itself. So it stays whatever becomes of the command and of this process, and no clock but the server's counts. It
 * is taken under the lock of the name, right before the start; where nothing was started after all, it is given back.
 */
import * as DateTime from "effect/DateTime"
import * as Duration from "effect/Duration"
import * as Effect from "effect/Effect"
import type * as Scope from "effect/Scope"
import * as Locker from "../client/Locker.ts"
import type { InvalidOption, NotOwner } from "../DlmError.ts"
import type { Talker } from "../transport/Talker.ts"
import { Failed, status as failures } from "./Status.ts"

/** Whether a command may be started. */
export interface OncePer {
  /** Fails where it was started not so long ago. */
  readonly look: Effect.Effect<void, Failed | Locker.LockerError>
  /** The same, and from now on it counts as started, unless it was not by the end of the scope. */
  readonly take: (isStarted: () => boolean) => Effect.Effect<void, Failed | Locker.LockerError, Scope.Scope>
}

const suffix = "#once"

/** For a name, and a time; it ends with this status where the command is not to be started. */
export const make = (
  name: string,
  time: Duration.Duration,
  status: number,
  options: Pick<Locker.Options, "label" | "identity">
): Effect.Effect<OncePer, InvalidOption, Talker> =>
  Effect.map(Locker.make(name + suffix, { ...options, ttl: time }), (mark) => {
    const startedBefore = ({ holder }: Partial<Pick<NotOwner, "holder">>) => {
      const by = holder?.label === undefined ? "" : ` by ${JSON.stringify(holder.label)}`
      const since = holder?.since === undefined ? "" : ` at ${DateTime.formatIso(holder.since)}`
      const ago = `less than ${Duration.format(time)} ago`
      const message = `${JSON.stringify(name)} was started${by}${since}, ${ago}, so nothing is started now`
      return new Failed({ status, error: "StartedBefore", message })
    }
    const refused = () =>
      Effect.fail(
        new Failed({
          status: failures.refused,
          error: "Refused",
          message:
            `${JSON.stringify(name)}: the server does not keep for ${Duration.format(time)} that it was started. ` +
            "Without an --identity --once-per is at most 3543s"
        })
      )
    // What is public of it is asked for only to be told.
    const look = Effect.flatMap(
      Effect.catchTag(mark.holder, "Refused", refused),
      (holder) =>
        holder !== "Another" ? Effect.void : Effect.flatMap(
          Effect.orElseSucceed(mark.describe, (): Locker.Description => ({ holders: [] })),
          ({ holders: [first] }) => {
            const since = first?.since
            return Effect.fail(startedBefore(since === undefined ? {} : { holder: { ...first, since } }))
          }
        )
    )
    const lock = Effect.catchTags(mark.lock, {
      NotOwner: (error) => Effect.fail(startedBefore(error)),
      Refused: refused
    })
    return {
      look,
      take: (isStarted) =>
        Effect.asVoid(Effect.acquireRelease(
          lock,
          () => Effect.suspend(() => isStarted() ? Effect.void : Effect.ignore(mark.unlock)),
          { interruptible: true }
        ))
    }
  })
