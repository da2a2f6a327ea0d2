/**
 * Named identities, which may hold a lock for longer and store more, and the
 * proof that a caller is one.
 */
import * as Config from "effect/Config"
import * as Context from "effect/Context"
import * as Mac from "effect/crypto/Mac"
import * as SecureRandom from "effect/crypto/SecureRandom"
import * as Effect from "effect/Effect"
import * as Encoding from "effect/encoding/Base64Url"
import * as FileSystem from "effect/FileSystem"
import * as Layer from "effect/Layer"
import * as Path from "effect/Path"
import type * as PlatformError from "effect/PlatformError"
import * as Redacted from "effect/Redacted"
import * as Schema from "effect/Schema"
import { defaults, Limits } from "./Limits.ts"

/** An identity: a name, a secret of at least 1023 characters, and how much it may store. */
export const Identity = Schema.Struct({
  Name: Schema.String.check(Schema.isPattern(/^[A-Za-z0-9_-]{1,64}$/)),
  Identity: Schema.RedactedFromValue(Schema.String),
  /** The longest `DataStore`, in characters. By default 16384. */
  MaxSize: Schema.optionalKey(Schema.Int.check(Schema.isGreaterThanOrEqualTo(0))),
  /** Whether it may revoke what others hold. By default not. */
  Admin: Schema.optionalKey(Schema.Boolean)
})

/** An identity: a name, a secret of at least 1023 characters, and how much it may store. */
export type Identity = typeof Identity.Type

/** A caller who has proved to be an identity. */
export interface Principal {
  readonly name: string
  readonly maxDataCharacters: number
  /** Whether it may revoke what others hold. By default not. */
  readonly isAdmin?: boolean | undefined
}

/** An identity cannot be read, or is not usable. */
export class IdentityError extends Schema.TaggedError<IdentityError>()("IdentityError", {
  source: Schema.String,
  problem: Schema.String,
  cause: Schema.optionalKey(Schema.Defect())
}) {
  override get message(): string {
    return `the identity in ${this.source} cannot be used: ${this.problem}`
  }
}

/**
 * The identities that a LockServer knows.
 *
 * `authenticate` gives the principal, or `undefined` where the name or the
 * secret is wrong: it never says which, and takes the same time for both.
 */
export class Identities extends Context.Service<Identities, {
  /** The largest `DataStore` that any of them may store, in characters; 0 where there are none. */
  readonly maxDataCharacters: number
  readonly authenticate: (
    name: string,
    secret: Redacted.Redacted<string>
  ) => Effect.Effect<Principal | undefined>
}>()("effect-dlm/server/Identities") {}

const utf8 = new TextEncoder()

/**
 * Makes the service from a list.
 *
 * Secrets are kept only as HMACs under a key of this process, so a comparison
 * tells nothing by its time, and a dump of the memory tells nothing of use.
 */
export const make = Effect.fnUntraced(function*(identities: ReadonlyArray<Identity>) {
  const limits = yield* Limits
  const mac = yield* Mac.Mac
  const key = yield* Effect.orDie(mac.generateKey(Mac.hmacSha256))
  const tagOf = (secret: Redacted.Redacted<string>) => Effect.orDie(mac.sign(key, utf8.encode(Redacted.value(secret))))

  const known = new Map<string, Principal & { readonly tag: Uint8Array }>()
  for (const identity of identities) {
    const length = Redacted.value(identity.Identity).length
    if (length < limits.minIdentityCharacters) {
      yield* Effect.logWarning(
        `The identity ${identity.Name} is ignored: its secret has ${length} characters, and ` +
          `${limits.minIdentityCharacters} are the least. Make one with: dlm identity NAME`
      )
      continue
    }
    known.set(identity.Name, {
      name: identity.Name,
      maxDataCharacters: identity.MaxSize ?? limits.maxDataCharacters,
      isAdmin: identity.Admin === true,
      tag: yield* tagOf(identity.Identity)
    })
  }
  const nobody = yield* tagOf(Redacted.make(""))

  return Identities.of({
    maxDataCharacters: Math.max(0, ...Array.from(known.values(), (identity) => identity.maxDataCharacters)),
    authenticate: Effect.fnUntraced(function*(name, secret) {
      const candidate = known.get(name)
      // Whether an identity has this name or not, it costs the same: one HMAC and one comparison in constant time. (In Node,
      // WebCrypto compares by what `timingSafeEqual` does: CRYPTO_memcmp, in src/crypto/crypto_hmac.cc.)
      const same = yield* Effect.orDie(
        mac.verify(key, candidate?.tag ?? nobody, utf8.encode(Redacted.value(secret)))
      )
      return same && candidate !== undefined
        ? {
          name: candidate.name,
          maxDataCharacters: candidate.maxDataCharacters,
          ...(candidate.isAdmin ? { isAdmin: true } : {})
        }
        : undefined
    })
  })
})

const layerMac = Mac.layerWebCrypto.pipe(Layer.provide(SecureRandom.layerWebCrypto))

/** Makes the service from a list. */
export const layer = (identities: ReadonlyArray<Identity>): Layer.Layer<Identities> =>
  Layer.effect(Identities, make(identities)).pipe(Layer.provide(layerMac))

/** No identities: a client that presents one is refused. */
export const layerNone: Layer.Layer<Identities> = Layer.succeed(
  Identities,
  Identities.of({ maxDataCharacters: 0, authenticate: () => Effect.undefined })
)

/**
 * Reads the identities from Config: `DLM_IDENTITIES`, a JSON list of
 * `{ "Name", "Identity", "MaxSize"?, "Admin"? }`. None where it is not set.
 */
export const layerConfig: Layer.Layer<Identities, Config.ConfigError> = Layer.unwrap(
  Config.schema(Schema.fromJsonString(Schema.Array(Identity)), "DLM_IDENTITIES").pipe(
    Config.withDefault([]),
    Effect.map(layer)
  )
)

/** How the name of an identity's file ends. */
export const fileExtension = ".cfg"

// The name of an identity is the name of its file, and never a path.
const IdentityFile = Schema.fromJsonString(Schema.Struct({
  Identity: Identity.fields.Identity,
  MaxSize: Identity.fields.MaxSize,
  Admin: Identity.fields.Admin
}))

const decodeFile = Schema.decodeEffect(IdentityFile)
const encodeFile = Schema.encodeEffect(IdentityFile)
const isName = Schema.is(Identity.fields.Name)

/**
 * Reads the identities from a folder: each file `NAME.cfg` holds the JSON
 * `{ "Identity": "…", "MaxSize": 65536, "Admin": true }`, the last two where they are needed. They are read once.
 */
export const makeDirectory = Effect.fnUntraced(function*(
  directory: string
): Effect.fn.Return<
  Identities["Service"],
  IdentityError | PlatformError.PlatformError,
  FileSystem.FileSystem | Path.Path
> {
  const fs = yield* FileSystem.FileSystem
  const path = yield* Path.Path
  const identities: Array<Identity> = []
  for (const file of yield* fs.readDirectory(directory)) {
    const name = file.slice(0, -fileExtension.length)
    if (!file.endsWith(fileExtension) || !isName(name)) continue
    const source = path.join(directory, file)
    const content = yield* fs.readFileString(source)
    const fields = yield* decodeFile(content).pipe(
      // The cause would show the file, and so the secret.
      Effect.mapError(() =>
        new IdentityError({
          source,
          problem: "it is no JSON of the form { \"Identity\": \"…\", \"MaxSize\": 65536, \"Admin\": false }"
        })
      )
    )
    identities.push({ Name: name, ...fields })
  }
  return yield* Effect.provide(make(identities), layerMac)
})

/** As `makeDirectory`, read at the start. */
export const layerDirectory = (
  directory: string
): Layer.Layer<Identities, IdentityError | PlatformError.PlatformError, FileSystem.FileSystem | Path.Path> =>
  Layer.effect(Identities, makeDirectory(directory))

/** Identities that can be read anew. */
export interface Renewable<E, R> {
  /** Those that were read last. */
  readonly identities: Identities["Service"]
  /** Reads them anew. Where that fails, those that were read before stay. A request is proved by those of its time. */
  readonly renew: Effect.Effect<void, E, R>
}

/**
 * Reads identities, and can do so again while the server runs.
 *
 * @example
 * ```ts
 * import { Effect, Layer, Schedule } from "effect"
 * import { Identities } from "effect-dlm/server"
 *
 * const layer = Layer.effect(
 *   Identities.Identities,
 *   Effect.gen(function*() {
 *     const { identities, renew } = yield* Identities.makeRenewable(Identities.makeDirectory("identities"))
 *     yield* Effect.forkScoped(Effect.repeat(Effect.ignore(renew), Schedule.spaced("1 minute")))
 *     return identities
 *   })
 * )
 * ```
 */
export const makeRenewable = <E, R>(
  read: Effect.Effect<Identities["Service"], E, R>
): Effect.Effect<Renewable<E, R>, E, R> =>
  Effect.map(read, (first) => {
    let last = first
    return {
      identities: Identities.of({
        get maxDataCharacters() {
          return last.maxDataCharacters
        },
        authenticate: (name, secret) => Effect.suspend(() => last.authenticate(name, secret))
      }),
      renew: Effect.map(read, (read) => {
        last = read
      })
    }
  })

const secretBytes = 1024

// One by one: Node's own recursion does not end where a folder cannot hold another, as in /proc.
const makeFolders = (
  directory: string
): Effect.Effect<void, PlatformError.PlatformError, FileSystem.FileSystem | Path.Path> =>
  Effect.gen(function*() {
    const fs = yield* FileSystem.FileSystem
    if (yield* fs.exists(directory)) return
    const path = yield* Path.Path
    yield* makeFolders(path.dirname(directory))
    yield* fs.makeDirectory(directory, { mode: 0o700 }).pipe(
      Effect.catchIf((error) => error.reason._tag === "AlreadyExists", () => Effect.void)
    )
  })

/**
 * Makes a new identity with a random secret, and writes it to `NAME.cfg` in a
 * folder, readable by its owner only. Fails where the file exists.
 */
export const create = Effect.fn("Identities.create")(function*(
  directory: string,
  name: string,
  options?: { readonly maxDataCharacters?: number | undefined; readonly isAdmin?: boolean | undefined }
) {
  const fs = yield* FileSystem.FileSystem
  const path = yield* Path.Path
  const random = yield* SecureRandom.SecureRandom
  const source = path.join(directory, name + fileExtension)
  if (!isName(name)) {
    return yield* new IdentityError({
      source: JSON.stringify(name),
      problem: "a name has 1 to 64 of the characters A-Z a-z 0-9 _ -"
    })
  }
  const content = yield* Effect.orDie(encodeFile({
    Identity: Redacted.make(Encoding.encode(yield* random.randomBytes(secretBytes))),
    MaxSize: options?.maxDataCharacters ?? defaults.maxDataCharacters,
    ...(options?.isAdmin === true ? { Admin: true } : {})
  }))
  yield* makeFolders(directory)
  yield* fs.writeFileString(source, content + "\n", { flag: "wx", mode: 0o600 }).pipe(
    Effect.catchIf(
      (error) => error.reason._tag === "AlreadyExists",
      () =>
        Effect.fail(new IdentityError({ source, problem: "it exists already. Remove it first, or take another name" }))
    )
  )
  return source
})

/** Reads one identity's secret from a file that `create` wrote, for a client to present. */
export const readSecret = Effect.fn("Identities.readSecret")(function*(source: string) {
  const fs = yield* FileSystem.FileSystem
  const content = yield* fs.readFileString(source)
  const fields = yield* decodeFile(content).pipe(
    Effect.mapError(() => new IdentityError({ source, problem: "it is no identity file" }))
  )
  return fields.Identity
})
