/**
 * What TLS needs, from files in PEM, on Node.
 */
import * as Config from "effect/Config"
import * as Effect from "effect/Effect"
import * as Option from "effect/Option"
import * as Redacted from "effect/Redacted"
import * as Schema from "effect/Schema"
import * as fs from "node:fs/promises"
import type * as Tls from "node:tls"
import { createSecureContext } from "node:tls"

/** The files, by their paths. */
export interface Files {
  /** The authorities to trust, instead of the system's. */
  readonly ca?: string | undefined
  /** Our own certificate, with the certificates that lead from it to an authority. */
  readonly cert?: string | undefined
  /** Its private key. */
  readonly key?: string | undefined
}

/** What TLS needs cannot be used: a file, or what was given in its place. */
export class TlsError extends Schema.TaggedError<TlsError>()("TlsError", {
  file: Schema.String,
  problem: Schema.String
}) {
  readonly isRetryable = false
  override get message(): string {
    return `${this.file} cannot be used for TLS: ${this.problem}`
  }
}

const pem = /-----BEGIN [A-Z ]+-----/

const read = Effect.fnUntraced(function*(file: string) {
  const text = yield* Effect.tryPromise({
    try: () => fs.readFile(file, "utf8"),
    catch: (cause) => new TlsError({ file, problem: cause instanceof Error ? cause.message : String(cause) })
  })
  return pem.test(text) ? Redacted.make(text) : yield* new TlsError({ file, problem: "it is not in PEM" })
})

const readIf = (file: string | undefined) =>
  file === undefined ? Effect.succeedNone : Effect.map(read(file), Option.some)

/**
 * Reads the files, for `NodeTalker.layerTls` or `NodeLockServer.layerTls`. A
 * certificate and its key go together.
 *
 * @example
 * ```ts
 * import { Effect, Layer } from "effect"
 * import { NodeTalker, NodeTls } from "effect-dlm/node"
 *
 * const talker = Layer.unwrap(
 *   Effect.map(NodeTls.fromFiles({ ca: "ca.pem" }), (tls) => NodeTalker.layerTls({ host: "locks.example.org", tls }))
 * )
 * ```
 */
export const fromFiles = Effect.fn("NodeTls.fromFiles")(function*(
  files: Files
): Effect.fn.Return<Pick<Tls.SecureContextOptions, "ca" | "cert" | "key">, TlsError> {
  const { ca, cert, key } = files
  if ((cert === undefined) !== (key === undefined)) {
    return yield* new TlsError({ file: cert ?? key!, problem: "a certificate and its key go together: name both" })
  }
  const texts = yield* Effect.all({ ca: readIf(ca), cert: readIf(cert), key: readIf(key) })
  const given: { ca?: string; cert?: string; key?: string } = {}
  for (const name of ["ca", "cert", "key"] as const) {
    if (Option.isSome(texts[name])) given[name] = Redacted.value(texts[name].value)
  }
  yield* check(given, [cert, key, ca].filter((file) => file !== undefined).join(", "))
  return given
})

/** Fails where what is given cannot be used, whatever TLS would do with it then. `file` says where it is from. */
export const check = (options: Tls.SecureContextOptions, file: string): Effect.Effect<void, TlsError> =>
  Effect.try({
    try: () => void createSecureContext(options),
    catch: (cause) =>
      new TlsError({
        file,
        problem: `together they cannot be used: ${cause instanceof Error ? cause.message : String(cause)}`
      })
  })

const file = (name: string) => Config.String(name).pipe(Config.withDefault(undefined))

/**
 * The files of a client, from Config: `DLM_TLS_CA`, `DLM_TLS_CERT`, `DLM_TLS_KEY`. None, and so no TLS, where none of
 * them is set and `DLM_TLS` is not `true`.
 */
export const config: Config.Config<Files | undefined> = Config.map(
  Config.all({
    tls: Config.Boolean("DLM_TLS").pipe(Config.withDefault(false)),
    ca: file("DLM_TLS_CA"),
    cert: file("DLM_TLS_CERT"),
    key: file("DLM_TLS_KEY")
  }),
  ({ tls, ...files }) => tls || Object.values(files).some((name) => name !== undefined) ? files : undefined
)
