/**
 * What goes wrong between a process and its server: the fate of each request, by the faults that are active as it leaves.
 */
import * as Duration from "effect/Duration"
import * as Effect from "effect/Effect"
import { type TalkError, TransportError } from "../../DlmError.ts"
import type { Request, Response } from "../../protocol/Messages.ts"
import type { Talker } from "../../transport/Talker.ts"
import type { Fault, FaultKind, Program } from "./Program.ts"

/** How long an answer may take before the Talker gives it up, in milliseconds. */
const answerTimeout = 2_000

/** The same of a Talker that does not listen to interruption. */
export const deafTimeout = 20_000

/** The most that a late answer is late, in milliseconds: not too much for every lease. */
const lateness = [200, 900, 1_700]

/** The faults that are active. */
export class Faults {
  readonly extensions: boolean
  private readonly active = new Set<Fault>()
  private lates = 0

  constructor({ extensions }: Program) {
    this.extensions = extensions
  }

  begin(fault: Fault): void {
    this.active.add(fault)
  }

  end(fault: Fault): void {
    this.active.delete(fault)
  }

  is(kind: FaultKind, process: number): boolean {
    for (const fault of this.active) {
      if (fault.kind === kind && (fault.process === undefined || fault.process === process)) return true
    }
    return false
  }

  /** By how much the next late answer is late. */
  lateness(): number {
    return lateness[this.lates++ % lateness.length]!
  }
}

const failed = ({ Action, FileName }: Request, phase: TransportError["phase"], after = 0) =>
  Effect.delay(
    Effect.fail(new TransportError({ name: FileName, action: Action, phase })),
    Duration.millis(after)
  )

const aboutVersion: Request = { ID: "", FileName: "", Action: "Version", Expire: 0 }

const noFeatures = Effect.succeed(new Set<never>())

/** What the reference has in no answer. */
const ofExtensions: ReadonlySet<string> = new Set(["Fence", "Holder", "Waiting"])

const asReference = (response: Response): Response =>
  Object.fromEntries(Object.entries(response).filter(([field]) => !ofExtensions.has(field))) as Response

// What a Talker does not send where the server has not named what it needs.
const needsExtension = ({ Action, Fence, Heir, Limit }: Request): boolean =>
  Action === "Describe" || (Fence ?? Heir ?? Limit) !== undefined

/** A Talker of one process, between which and its server things go wrong. */
export const faulty = (talker: Talker["Service"], faults: Faults, process: number): Talker["Service"] => {
  const is = (kind: FaultKind) => faults.is(kind, process)
  const fateOf = (request: Request): Effect.Effect<Response, TalkError> => {
    const { Wait: _, ...plain } = request
    const isPlain = is("plain") || !faults.extensions
    const patience = is("deaf") ? deafTimeout : answerTimeout
    if (is("refuse")) return failed(request, "OpenFailed")
    if (is("lose") || (isPlain && needsExtension(request))) return failed(request, "Closed")
    if (is("silent")) return failed(request, "AnswerTimeout", patience)
    if (is("busy")) return Effect.succeed({ Status: "NO" })
    const answer = isPlain ? Effect.map(talker.talk(plain), asReference) : talker.talk(request)
    if (is("loseAnswer")) return Effect.andThen(answer, failed(request, "Closed"))
    if (is("noAnswer")) return Effect.andThen(answer, failed(request, "AnswerTimeout", patience))
    return is("late") ? Effect.tap(answer, Effect.sleep(Duration.millis(faults.lateness()))) : answer
  }
  return {
    ...talker,
    featuresOf: undefined,
    talk: (request) => Effect.suspend(() => is("deaf") ? Effect.uninterruptible(fateOf(request)) : fateOf(request)),
    features: Effect.suspend(() => {
      if (is("refuse") || is("lose")) return failed(aboutVersion, "OpenFailed")
      if (is("silent")) return failed(aboutVersion, "AnswerTimeout", answerTimeout)
      return is("plain") || !faults.extensions ? noFeatures : talker.features ?? noFeatures
    })
  }
}
