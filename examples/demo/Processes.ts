/**
 * The processes of the demonstration: each is told lines on its standard input, and tells lines on its standard output.
 */
import { Config, Effect, Path, Queue, Schema, Stream } from "effect"
import { NetAddress } from "effect/net"
import { ChildProcess } from "effect/process"
import { SocketServer } from "effect/socket"

/** What a process has told. */
export interface Told {
  readonly who: string
  readonly line: string
}

/** A process ended by itself, and should not have. */
export class Ended extends Schema.TaggedError<Ended>()("Ended", { who: Schema.String }) {
  override get message() {
    return `process ${this.who} ended before its work was done`
  }
}

/** Starts a process of a file. What it tells goes to the Queue; with the scope it is ended. */
export const start = Effect.fnUntraced(function*(
  file: string,
  who: string,
  told: Queue.Queue<Told, Ended>,
  env: Record<string, string> = {}
) {
  const path = yield* Path.Path
  const { address } = yield* SocketServer.SocketServer
  const said = yield* Queue.unbounded<string>()
  const process_ = yield* ChildProcess.make(process.execPath, [path.join(import.meta.dirname, file)], {
    env: {
      ...env,
      DLM_LABEL: who,
      DLM_HOST: "127.0.0.1",
      DLM_PORT: String(NetAddress.isInetAddress(address) ? address.port : 0)
    },
    extendEnv: true,
    stdin: Stream.fromQueue(said).pipe(Stream.map((line) => `${line}\n`), Stream.encodeText),
    stderr: "inherit"
  })
  let isKilled = false
  yield* process_.stdout.pipe(
    Stream.decodeText,
    Stream.splitLines,
    Stream.runForEach((line) => Queue.offer(told, { who, line })),
    Effect.andThen(Effect.suspend(() => isKilled ? Effect.void : Queue.fail(told, new Ended({ who })))),
    Effect.forkScoped
  )
  return {
    who,
    tell: (line: string) => Queue.offer(said, line),
    /** Sends it a signal: SIGKILL, SIGSTOP, SIGCONT. */
    signal: (signal: NodeJS.Signals) =>
      Effect.sync(() => {
        isKilled ||= signal === "SIGKILL"
        process.kill(process_.pid, signal)
      })
  }
})

/** A process that was started. */
export type Process = Effect.Success<ReturnType<typeof start>>

/** Waits until a process tells a line that begins so. Others go to `seen`. */
export const until = (
  told: Queue.Queue<Told, Ended>,
  who: string,
  beginning: string,
  seen: (told: Told) => Effect.Effect<void, never, never>
): Effect.Effect<Told, Ended> =>
  Effect.flatMap(Queue.take(told), (one) =>
    Effect.andThen(
      seen(one),
      one.who === who && one.line.startsWith(beginning) ? Effect.succeed(one) : until(told, who, beginning, seen)
    ))

/** For how long a lock lives that its process does not renew any more. */
export const ttl = Config.withDefault(Config.Duration("DEMO_TTL"), "2 seconds")
