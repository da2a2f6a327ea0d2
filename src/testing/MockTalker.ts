/**
 * A Talker that answers as a test says.
 */
import * as Clock from "effect/Clock"
import * as Duration from "effect/Duration"
import * as Effect from "effect/Effect"
import { format } from "effect/Formatter"
import * as Layer from "effect/Layer"
import * as Option from "effect/Option"
import * as Result from "effect/Result"
import * as Schema from "effect/Schema"
import { labelProblem } from "../client/Options.ts"
import { InvalidOption, ProtocolError, ServerBusy, type TalkError, TransportError, WrongShard } from "../DlmError.ts"
import { type Request, Response, serverName } from "../protocol/Protocol.ts"
import { Talker } from "../transport/Talker.ts"
import * as FreeNames from "./FreeNames.ts"

/** An answer, or the error in its place. */
export type Scripted = Response | TalkError | ((request: Request) => Response | TalkError)

const about = ({ Action, FileName }: Request): string => `${Action} of ${JSON.stringify(FileName)}`

const count = (number: number, what: string): string => `${number} ${what}${number === 1 ? "" : "s"}`

/** A request beyond the end of a script. No host and no port is wrong, so its message names the request instead. */
class ScriptOver extends ProtocolError {
  override get message(): string {
    return this.received
  }
}

const scriptOver = (request: Request, length: number, place: number) =>
  new ScriptOver({
    name: request.FileName,
    action: request.Action,
    received: `MockTalker: the script has ${count(length, "answer")}, and this is request ${place} (${about(request)})`
  })

const decodeAnswer = Schema.decodeUnknownResult(Response)

// No server can send it, so what a test shows by it would be true of none: that is a mistake in the test.
const checked = (request: Request, answer: Response): Effect.Effect<Response> => {
  const decoded = decodeAnswer(answer)
  return Result.isSuccess(decoded)
    ? Effect.succeed(answer)
    : Effect.die(
      new TypeError(
        `MockTalker: what answers ${about(request)} is not in the protocol: ${
          format(answer)
        }. ${decoded.failure.message}`
      )
    )
}

const isError = (answer: Response | TalkError): answer is TalkError =>
  answer instanceof TransportError || answer instanceof ProtocolError || answer instanceof ServerBusy ||
  answer instanceof WrongShard

const following = (script: ReadonlyArray<Scripted>): Talker["Service"]["talk"] => {
  let asked = 0
  return (request) =>
    Effect.suspend(() => {
      const scripted = script[asked++]
      if (scripted === undefined) return Effect.fail(scriptOver(request, script.length, asked))
      const answer = typeof scripted === "function" ? scripted(request) : scripted
      return isError(answer) ? Effect.fail(answer) : checked(request, answer)
    })
}

/**
 * A Talker that answers by a function of the request, or by a script: one
 * answer for each request, in order. A request beyond the end of the script
 * fails with a `ProtocolError`; an answer that no server could send is a defect.
 *
 * @example
 * ```ts
 * import { Effect } from "effect"
 * import { Locker } from "effect-dlm"
 * import { MockTalker } from "effect-dlm/testing"
 *
 * const program = Effect.gen(function*() {
 *   const locker = yield* Locker.make("orders.csv")
 *   return yield* locker.isLocked // true
 * }).pipe(Effect.provide(MockTalker.layer([{ Status: "NotOwner" }])))
 * ```
 */
export const layer = (
  answers: ReadonlyArray<Scripted> | ((request: Request) => Effect.Effect<Response, TalkError>)
): Layer.Layer<Talker> =>
  Layer.sync(Talker, () =>
    Talker.of({
      talk: typeof answers === "function"
        ? (request) => Effect.flatMap(answers(request), (answer) => checked(request, answer))
        : following(answers)
    }))

/** What a mock says of who holds a name. */
export interface TakenOptions {
  /** What the holder says of itself. */
  readonly label?: string | undefined
  /** Milliseconds since 1970. By default now, whenever it is asked. */
  readonly since?: number | undefined
  /** After how long it ends. By default a minute. */
  readonly expiresIn?: Duration.Input | undefined
  /** How many wait. By default nobody. */
  readonly waiting?: number | undefined
}

/**
 * Grants whatever is asked for, with fences that grow, and keeps the data: for the test of what is done under a lock. It
 * excludes nobody; a LockServer in memory does (`LockServer.layerTalkerMemory`).
 *
 * @example
 * ```ts
 * import { Effect } from "effect"
 * import { Lease } from "effect-dlm"
 * import { MockTalker } from "effect-dlm/testing"
 *
 * const test = Effect.log("alone").pipe(Lease.withLock("order/7"), Effect.provide(MockTalker.layerFree))
 * ```
 */
export const layerFree: Layer.Layer<Talker> = Layer.sync(Talker, () => {
  const answer = FreeNames.make()
  return Talker.of({ talk: (request) => Effect.map(Clock.currentTimeMillis, (now) => answer(request, now)) })
})

const wrong = (option: keyof TakenOptions, problem: string) =>
  Effect.die(new InvalidOption({ name: "", option, problem: `of MockTalker.layerTaken ${problem}` }))

/** As the wire writes numbers: whole, of at most fifteen digits. */
const written = (option: keyof TakenOptions, value: number, given: unknown = value): Effect.Effect<string> =>
  Number.isInteger(value) && value >= 0 && value < 1e15
    ? Effect.succeed(String(value))
    : wrong(
      option,
      `cannot be sent: ${format(given)}. The protocol's numbers are whole, not negative, and less than 10^15`
    )

// To a Duration, what is not a number is zero.
const millisOf = (input: Duration.Input): number =>
  Number.isNaN(input)
    ? NaN
    : Option.match(Duration.fromInput(input), {
      onNone: () => NaN,
      onSome: (time) => Math.ceil(Duration.toMillis(time))
    })

/** Says of every name that another holds it. */
const makeTaken = Effect.fnUntraced(function*({ expiresIn = "1 minute", label, since, waiting = 0 }: TakenOptions) {
  const problem = label === undefined ? undefined : labelProblem(label)
  if (problem !== undefined) return yield* wrong("label", problem)
  const holder = {
    ...(label === undefined ? {} : { Label: label }),
    ExpiresIn: yield* written("expiresIn", millisOf(expiresIn), expiresIn)
  }
  const Waiting = yield* written("waiting", waiting)
  const fixed = since === undefined ? undefined : yield* written("since", since)
  return Talker.of({
    talk: ({ Action }) =>
      Action === "Version"
        ? Effect.succeed<Response>({ Status: "Version", ID: serverName })
        : Effect.map(Clock.currentTimeMillis, (now): Response => {
          const Since = fixed ?? String(Math.floor(now))
          const Holder = { ...holder, Since }
          return Action === "Describe"
            ? {
              Status: "Described",
              Holders: [Holder],
              Waiting,
              Waiters: Array.from({ length: Math.min(waiting, 100) }, () => ({ Since })),
              Revision: "taken"
            }
            : { Status: "NotOwner", Holder, Waiting }
        })
  })
})

/**
 * Another holds every name, for ever. An option that no server could send is an `InvalidOption`, as a defect of the layer.
 *
 * @example
 * ```ts
 * import { Effect } from "effect"
 * import { Lease } from "effect-dlm"
 * import { MockTalker } from "effect-dlm/testing"
 *
 * const test = Effect.log("alone").pipe(
 *   Lease.withLock("order/7", { wait: 0 }),
 *   Effect.catchTag("AcquireTimeout", ({ holder }) => Effect.log("held by", holder?.label)), // held by api-3
 *   Effect.provide(MockTalker.layerTaken({ label: "api-3" }))
 * )
 * ```
 */
export const layerTaken = (options: TakenOptions = {}): Layer.Layer<Talker> => Layer.effect(Talker, makeTaken(options))

/**
 * Nobody listens: every request fails with a `TransportError` (`OpenFailed`).
 *
 * @example
 * ```ts
 * import { Effect } from "effect"
 * import { Lease } from "effect-dlm"
 * import { MockTalker } from "effect-dlm/testing"
 *
 * // By the test's clock: a wait goes on through an outage, and ends up to two seconds late.
 * const test = Effect.log("alone").pipe(
 *   Lease.withLock("order/7", { wait: "2 seconds" }),
 *   Effect.catchTag("LockUnavailable", ({ reason }) => Effect.log(reason._tag)), // TransportError
 *   Effect.provide(MockTalker.layerDown)
 * )
 * ```
 */
export const layerDown: Layer.Layer<Talker> = layer(({ Action, FileName }) =>
  Effect.fail(new TransportError({ name: FileName, action: Action, phase: "OpenFailed" }))
)
