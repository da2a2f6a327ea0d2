/**
 * `dlm identity`: makes an identity.
 */
import * as Argument from "effect/cli/Argument"
import * as Command from "effect/cli/Command"
import * as Flag from "effect/cli/Flag"
import * as SecureRandom from "effect/crypto/SecureRandom"
import * as Effect from "effect/Effect"
import * as Schema from "effect/Schema"
import * as Identities from "../server/Identities.ts"
import { defaults } from "../server/Limits.ts"
import * as Flags from "./Flags.ts"
import { print, reporting } from "./Status.ts"

export const identity = Command.make("identity", {
  name: Argument.String("name").pipe(Argument.withDescription("1 to 64 of the characters A-Z a-z 0-9 _ -")),
  identities: Flag.Directory("identities").pipe(
    Flag.withDescription("Folder to write it to, made where it is missing"),
    Flag.withDefault("identities")
  ),
  maxSize: Flag.Int("max-size").pipe(
    Flag.withSchema(Schema.Int.check(Schema.isGreaterThanOrEqualTo(0))),
    Flag.withDescription("How long its data may be, in characters"),
    Flag.withDefault(defaults.maxDataCharacters)
  ),
  admin: Flag.Boolean("admin").pipe(
    Flag.withDescription("It may revoke what others hold, by dlm revoke and on the page"),
    Flag.withDefault(false)
  ),
  json: Flags.json
}, (flags) =>
  Effect.gen(function*() {
    const file = yield* Identities.create(flags.identities, flags.name, {
      maxDataCharacters: flags.maxSize,
      isAdmin: flags.admin
    })
    yield* print(flags.json ? JSON.stringify({ file }) : `made ${file}`)
  }).pipe(Effect.provide(SecureRandom.layerWebCrypto), reporting(flags.json))).pipe(
    Command.withDescription("Make an identity, for dlm serve --identities and for --identity")
  )
