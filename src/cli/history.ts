/**
 * What `dlm serve` keeps of what happens: the last events, and a file of all of them.
 */
import * as Flag from "effect/cli/Flag"
import * as Config from "effect/Config"
import * as Effect from "effect/Effect"
import * as Option from "effect/Option"
import * as Schema from "effect/Schema"
import * as AuditFile from "../node/AuditFile.ts"
import * as Worker from "../node/Worker.ts"
import * as History from "../server/History.ts"
import * as LockServer from "../server/LockServer.ts"
import * as Features from "../transport/features.ts"
import * as Flags from "./Flags.ts"
import { Failed, status } from "./Status.ts"

const Count = Schema.Int.check(Schema.isBetween({ minimum: 0, maximum: 1_000_000 }))
const Size = Schema.Int.check(Schema.isBetween({ minimum: 4096, maximum: 2 ** 40 }))
const ofText = <S extends typeof Count>(schema: S) => Schema.NumberFromString.pipe(Schema.decodeTo(schema))

/** What is kept. */
export const flags = {
  history: Flag.Int("history").pipe(
    Flag.withSchema(Count),
    Flag.withDescription(
      `How many of the last events are kept, for dlm log, 0 for none (DLM_HISTORY; ${History.defaultMaxEvents})`
    ),
    Flag.withFallbackConfig(Config.schema(ofText(Count), "DLM_HISTORY")),
    Flag.withDefault(History.defaultMaxEvents)
  ),
  audit: Flag.String("audit").pipe(
    Flag.withSchema(Flags.someText),
    Flag.withDescription("File to which all events are appended, a line of JSON each (DLM_AUDIT)"),
    Flag.withFallbackConfig(Config.NonEmptyString("DLM_AUDIT")),
    Flag.optional
  ),
  auditSize: Flag.Int("audit-size").pipe(
    Flag.withSchema(Size),
    Flag.withDescription(
      `How long it may become, in bytes, before it is FILE.1 and a new one begins (DLM_AUDIT_SIZE; ${AuditFile.defaultMaxBytes})`
    ),
    Flag.withFallbackConfig(Config.schema(ofText(Size), "DLM_AUDIT_SIZE")),
    Flag.withDefault(AuditFile.defaultMaxBytes)
  )
}

interface HistoryFlags {
  readonly history: number
  readonly audit: Option.Option<string>
  readonly auditSize: number
}

/** What is not written to the file yet is kept as well: enough for what a busy server does in a tenth of a second. */
const leastForAudit = 50_000

/** A history as the flags say. Of several workers each has one of its own: clients are not told of a part. */
export const make = ({ audit, history }: HistoryFlags): Effect.Effect<History.History> =>
  Option.isNone(audit) && (history === 0 || Worker.here !== undefined)
    ? Effect.succeed(History.none)
    : History.make({
      maxEvents: Option.isNone(audit) ? history : Math.max(history, leastForAudit),
      isTold: history > 0 && Worker.here === undefined
    })

const isAlone = (lockServer: LockServer.LockServer["Service"]) =>
  Effect.map(
    lockServer.handle({ ID: "", FileName: "", Action: "Version", Expire: 0, Seq: "" }),
    (version) => Features.named(version).has("alone")
  )

/** The folder may be missing, or the file another's: said before anybody is let in. */
const cannotAudit = ({ message }: AuditFile.AuditError) =>
  new Failed({ status: status.system, error: "AuditError", message: `${message}. Choose another with --audit` })

/** Writes the file where one is named, as long as the scope lasts. */
export const auditing = Effect.fnUntraced(
  function*(
    { audit, auditSize }: HistoryFlags,
    history: History.History,
    lockServer: LockServer.LockServer["Service"]
  ) {
    if (Option.isNone(audit)) return undefined
    // Two processes would rename it under one another.
    const file = Worker.here === undefined ? audit.value : `${audit.value}.worker-${Worker.here.number}`
    return yield* AuditFile.make(
      { file, maxBytes: auditSize },
      history,
      yield* isAlone(lockServer)
    ).pipe(Effect.mapError(cannotAudit))
  }
)
