/**
 * `dlm lock`, `unlock`, `test`, `put`, `get`, `erase` and `version`: one request each.
 */
import * as Argument from "effect/cli/Argument"
import * as Command from "effect/cli/Command"
import * as Flag from "effect/cli/Flag"
import type * as Duration from "effect/Duration"
import * as Effect from "effect/Effect"
import * as Option from "effect/Option"
import * as Result from "effect/Result"
import * as Stdio from "effect/Stdio"
import * as Stream from "effect/Stream"
import * as Locker from "../client/Locker.ts"
import { NotOwner } from "../DlmError.ts"
import * as NodeProcess from "../node/NodeProcess.ts"
import * as StandardStreams from "../node/StandardStreams.ts"
import { decodeUtf8 } from "../protocol/Wire.ts"
import { version as clientVersion } from "./clientVersion.ts"
import { fieldsOf, linesOf } from "./description.ts"
import * as Flags from "./Flags.ts"
import { Failed, fromError, print as printLine, reporting, status } from "./Status.ts"

const common = {
  ...Flags.server,
  json: Flags.json,
  identity: Flags.identity
}

const name = Argument.String("name").pipe(
  Argument.withSchema(Flags.someText),
  Argument.withDescription("Name of the lock or datum")
)

const id = Flag.String("id").pipe(
  Flag.withSchema(Flags.someText),
  Flag.withDescription("The owner. All who know it are the same owner, so it should be long and random")
)

interface RequestFlags extends Flags.ServerFlags {
  readonly identity: Option.Option<string>
  readonly json: boolean
  readonly name: string
  readonly id?: string | undefined
  readonly ttl?: Duration.Duration
  readonly label?: Option.Option<string>
}

const locker = Effect.fnUntraced(function*(flags: RequestFlags) {
  const options = {
    id: flags.id,
    ttl: flags.ttl,
    label: flags.label && Option.getOrUndefined(flags.label),
    identity: yield* Flags.presentedIdentity(flags.identity)
  }
  return yield* Effect.provideContext(Locker.make(flags.name, options), yield* Flags.talker(flags))
})

const print = (json: boolean, text: string, fields: object) => printLine(json ? JSON.stringify(fields) : text)

// It is waited for as a lease is, which is then let go of: it is held for its time to live, and not renewed.
const waitFor = (locker: Locker.Locker, wait: Duration.Duration) =>
  Effect.asVoid(Effect.flatMap(locker.acquire({ wait }), ({ detach }) => detach))

export const lock = Command.make(
  "lock",
  { ...common, name, id, ttl: Flags.ttl, wait: Flag.optional(Flags.wait), label: Flags.label },
  (flags) =>
    Effect.gen(function*() {
      const mine = yield* locker(flags)
      yield* Option.match(flags.wait, { onNone: () => Effect.asVoid(mine.lock), onSome: (wait) => waitFor(mine, wait) })
      yield* print(flags.json, "locked", { status: "locked", name: flags.name, id: flags.id })
    }).pipe(Effect.scoped, reporting(flags.json))
).pipe(
  Command.withDescription("Take a lock, or renew it; without --wait at once or not at all")
)

export const unlock = Command.make("unlock", { ...common, name, id }, (flags) =>
  Effect.gen(function*() {
    const { unlock } = yield* locker(flags)
    const released = yield* unlock
    yield* print(flags.json, released ? "unlocked" : "unlocked: nothing was held", {
      status: "unlocked",
      name: flags.name,
      released
    })
  }).pipe(Effect.scoped, reporting(flags.json))).pipe(Command.withDescription("Give a lock, and its data, back"))

export const test = Command.make("test", { ...common, name, id: Flag.optional(id) }, (flags) =>
  Effect.gen(function*() {
    const { name } = flags
    const { describe, holder } = yield* locker({ ...flags, id: Option.getOrUndefined(flags.id) })
    const who = yield* holder
    if (who === "Nobody") return yield* print(flags.json, "free", { status: "free", name })
    // Whose it is decides; where the server does not say more, there is no more to say.
    const description = yield* Effect.orElseSucceed(describe, (): Locker.Description => ({ holders: [] }))
    const lines = linesOf(description)
    const fields = fieldsOf(description)
    if (who === "Me") {
      return yield* print(flags.json, ["locked by this id", ...lines].join("\n"), { status: "locked", name, ...fields })
    }
    // That it is held is what was asked, and no failure: it is told once, on standard output.
    const { error, message, status } = fromError(anothers(name, description))
    const told = lines.some((line) => line.startsWith("held")) ? lines : ["held", ...lines]
    yield* print(flags.json, told.join("\n"), { error, message, ...fields })
    yield* NodeProcess.setExitStatus(status)
  }).pipe(Effect.scoped, reporting(flags.json))).pipe(
    Command.withDescription(
      "Tell who holds a lock, since when, and how many wait, without taking it: exit status 75 where it is another; " +
        "without --id, anybody"
    )
  )

// Of several holders its one line names the first.
const anothers = (name: string, { holders, waiting }: Locker.Description): NotOwner => {
  const [first] = holders
  const held = holders.length > 1 ? { held: holders.length } : {}
  return new NotOwner({
    name,
    action: "TestLock",
    ...(first?.since === undefined ? {} : { holder: { ...first, since: first.since, ...held } }),
    ...(waiting === undefined ? {} : { waiting })
  })
}

export const put = Command.make("put", {
  ...common,
  name,
  data: Argument.String("data").pipe(Argument.withDescription("The text, or - for standard input")),
  id,
  ttl: Flags.ttl
}, (flags) =>
  Effect.gen(function*() {
    const { put } = yield* locker(flags)
    yield* put(flags.data === "-" ? yield* standardInput : flags.data)
    yield* print(flags.json, "done", { status: "done", name: flags.name })
  }).pipe(Effect.scoped, reporting(flags.json))).pipe(Command.withDescription("Keep text under a name"))

const standardInput = Effect.gen(function*() {
  yield* StandardStreams.readable
  const { stdin } = yield* Stdio.Stdio
  const bytes = yield* Effect.mapError(Stream.mkUint8Array(stdin), StandardStreams.cannotRead)
  yield* StandardStreams.endedWell
  return yield* Effect.fromResult(Result.mapError(decodeUtf8(bytes), () =>
    new Failed({
      status: status.data,
      error: "DataError",
      message: "standard input is not UTF-8 text. Encode it first, such as with base64"
    })))
})

export const get = Command.make("get", { ...common, name, id }, (flags) =>
  Effect.gen(function*() {
    const { get } = yield* locker(flags)
    const data = yield* get
    if (flags.json) return yield* print(true, data, { status: "done", name: flags.name, data })
    const { stdoutIsTerminal } = yield* Stdio.Stdio
    // A program gets the text as it is; a person, at a terminal, gets it on a line of its own.
    StandardStreams.write((yield* stdoutIsTerminal) ? data + "\n" : data)
    yield* StandardStreams.flushed
  }).pipe(Effect.scoped, reporting(flags.json))).pipe(Command.withDescription("Print the text kept under a name"))

export const erase = Command.make("erase", { ...common, name, id }, (flags) =>
  Effect.gen(function*() {
    const { erase } = yield* locker(flags)
    yield* erase
    yield* print(flags.json, "erased", { status: "done", name: flags.name })
  }).pipe(Effect.scoped, reporting(flags.json))).pipe(Command.withDescription("Drop a name, its text and its lock"))

export const version = Command.make("version", common, (flags) =>
  Effect.gen(function*() {
    const { version } = yield* locker({ ...flags, name: "version", id: "version" })
    const server = yield* version
    yield* print(flags.json, `${server} (server), effect-dlm/${clientVersion} (client)`, {
      server,
      client: `effect-dlm/${clientVersion}`
    })
  }).pipe(Effect.scoped, reporting(flags.json))).pipe(
    Command.withDescription("Print the versions of server and client")
  )
