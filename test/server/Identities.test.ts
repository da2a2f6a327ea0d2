import { NodeServices } from "@effect/platform-node"
import { assert, describe, it } from "@effect/vitest"
import { Cause, ConfigProvider, Context, Effect, Layer, Logger, Redacted } from "effect"
import { Identities } from "effect-dlm/server"
import { SecureRandom } from "effect/crypto"
import * as fs from "node:fs"
import * as os from "node:os"
import * as path from "node:path"

const build = <E, R>(layer: Layer.Layer<Identities.Identities, E, R>) =>
  Effect.map(Layer.build(Layer.fresh(layer)), (context) => Context.get(context, Identities.Identities))

const secretOf = (letter: string) => letter.repeat(1023)
const authenticate = (identities: Identities.Identities["Service"], name: string, secret: string) =>
  identities.authenticate(name, Redacted.make(secret))

const temporary = Effect.acquireRelease(
  Effect.sync(() => fs.mkdtempSync(path.join(os.tmpdir(), "dlm-identities-"))),
  (folder) => Effect.sync(() => fs.rmSync(folder, { recursive: true }))
)

const directory = (folder: string) => Identities.layerDirectory(folder).pipe(Layer.provide(NodeServices.layer))

const create = (...args: Parameters<typeof Identities.create>) =>
  Identities.create(...args).pipe(
    Effect.provide(NodeServices.layer),
    Effect.provide(SecureRandom.layerWebCrypto)
  )

const readSecret = (source: string) => Effect.provide(Identities.readSecret(source), NodeServices.layer)

const modeOf = (file: string) => fs.statSync(file).mode & 0o777

/** Everything that an error may show when it is printed, logged or sent on. */
const shownBy = (cause: Cause.Cause<unknown>): string => {
  const error = Cause.squash(cause) as Error & { readonly cause?: unknown }
  return [Cause.pretty(cause), String(error), error.message, error.stack, JSON.stringify(error), String(error.cause)]
    .join("\n")
}

describe("layer", () => {
  it.effect("knows who has the secret of a name, and how much they may store", () =>
    Effect.gen(function*() {
      const identities = yield* build(Identities.layer([
        { Name: "alice", Identity: Redacted.make(secretOf("a")), MaxSize: 65536 },
        { Name: "bob", Identity: Redacted.make(secretOf("b")) }
      ]))
      assert.deepStrictEqual(yield* authenticate(identities, "alice", secretOf("a")), {
        name: "alice",
        maxDataCharacters: 65536
      })
      assert.deepStrictEqual(yield* authenticate(identities, "bob", secretOf("b")), {
        name: "bob",
        maxDataCharacters: 16384
      })
      assert.strictEqual(identities.maxDataCharacters, 65536)
    }))

  it.effect("says undefined of an unknown name, and of a wrong secret", () =>
    Effect.gen(function*() {
      const identities = yield* build(Identities.layer([
        { Name: "alice", Identity: Redacted.make(secretOf("a")) },
        { Name: "bob", Identity: Redacted.make(secretOf("b")) }
      ]))
      for (
        const [name, secret] of [
          ["nobody", secretOf("a")],
          ["", secretOf("a")],
          ["Alice", secretOf("a")],
          ["alice", secretOf("b")],
          ["alice", ""],
          ["alice", secretOf("a").slice(1)],
          ["alice", secretOf("a") + "a"],
          // The tag that stands in for an unknown name is that of the empty secret.
          ["nobody", ""],
          ["__proto__", ""]
        ] as const
      ) {
        assert.isUndefined(yield* authenticate(identities, name, secret))
      }
    }))

  it.effect("ignores a secret that is too short, and says so without showing it", () => {
    const written: Array<string> = []
    return Effect.gen(function*() {
      const short = "the-short-secret-".repeat(61).slice(0, 1022)
      const identities = yield* build(Identities.layer([
        { Name: "shorty", Identity: Redacted.make(short), MaxSize: 1_000_000 },
        { Name: "enough", Identity: Redacted.make(`${short}x`), MaxSize: 10 }
      ]))
      assert.isUndefined(yield* authenticate(identities, "shorty", short))
      assert.isDefined(yield* authenticate(identities, "enough", `${short}x`))
      // Nobody may store that much, since nobody can be shorty.
      assert.strictEqual(identities.maxDataCharacters, 10)
      assert.strictEqual(written.length, 1)
      assert.include(written[0], "shorty")
      assert.notInclude(written[0], "the-short-secret")
    }).pipe(Effect.provide(Logger.layer([Logger.map(Logger.formatJson, (line) => written.push(line))])))
  })
})

describe("layerNone", () => {
  it.effect("knows nobody", () =>
    Effect.gen(function*() {
      const identities = yield* build(Identities.layerNone)
      assert.isUndefined(yield* authenticate(identities, "alice", secretOf("a")))
      assert.isUndefined(yield* authenticate(identities, "", ""))
      assert.strictEqual(identities.maxDataCharacters, 0)
    }))
})

describe("layerConfig", () => {
  const config = (env: Record<string, string>) =>
    Identities.layerConfig.pipe(Layer.provide(ConfigProvider.layer(ConfigProvider.fromEnvRecord(env))))

  it.effect("reads DLM_IDENTITIES", () =>
    Effect.gen(function*() {
      const identities = yield* build(config({
        DLM_IDENTITIES: JSON.stringify([
          { Name: "alice", Identity: secretOf("a"), MaxSize: 65536 },
          { Name: "bob", Identity: secretOf("b") }
        ])
      }))
      assert.deepStrictEqual(yield* authenticate(identities, "alice", secretOf("a")), {
        name: "alice",
        maxDataCharacters: 65536
      })
      assert.isDefined(yield* authenticate(identities, "bob", secretOf("b")))
    }))

  it.effect("knows nobody where it is not set, or empty of them", () =>
    Effect.gen(function*() {
      for (const env of [{}, { DLM_IDENTITIES: "[]" }]) {
        const identities = yield* build(config(env))
        assert.strictEqual(identities.maxDataCharacters, 0)
        assert.isUndefined(yield* authenticate(identities, "alice", secretOf("a")))
      }
    }))

  it.effect("fails where it is broken, and shows none of it", () =>
    Effect.gen(function*() {
      const secret = secretOf("the-secret ")
      for (
        const broken of [
          secret,
          `[{"Name":"alice","Identity":"${secret}"`,
          `[{"Name":"alice","Identity":${secret}}]`,
          JSON.stringify({ Name: "alice", Identity: secret }),
          JSON.stringify([{ Name: "alice", Identity: [secret] }]),
          JSON.stringify([{ Name: "alice", Identity: secret, MaxSize: -1 }]),
          JSON.stringify([{ Name: "alice", Identity: secret, MaxSize: 1.5 }]),
          JSON.stringify([{ Name: "alice", Identity: secret, MaxSize: "65536" }]),
          JSON.stringify([{ Name: "../alice", Identity: secret }]),
          JSON.stringify([{ Name: "", Identity: secret }]),
          JSON.stringify([{ Identity: secret }])
        ]
      ) {
        const cause = yield* build(config({ DLM_IDENTITIES: broken })).pipe(Effect.sandbox, Effect.flip)
        assert.strictEqual((Cause.squash(cause) as { _tag: string })._tag, "ConfigError")
        assert.notInclude(shownBy(cause), "the-secret")
      }
    }))
})

describe("layerDirectory", () => {
  const write = (folder: string, file: string, content: unknown) =>
    fs.writeFileSync(path.join(folder, file), typeof content === "string" ? content : JSON.stringify(content))

  it.effect("reads each NAME.cfg, and nothing else", () =>
    Effect.gen(function*() {
      const folder = yield* temporary
      const longest = "x".repeat(64)
      write(folder, "alice.cfg", { Identity: secretOf("a"), MaxSize: 65536, Comment: "unknown fields are ignored" })
      write(folder, "b-o_B9.cfg", { Identity: secretOf("b") })
      write(folder, `${longest}.cfg`, { Identity: secretOf("x") })
      write(folder, "README.md", "not one of them")
      write(folder, "carol.cfg.bak", { Identity: secretOf("c") })
      write(folder, "da ve.cfg", "broken, and not even read")
      write(folder, "eve.CFG", { Identity: secretOf("e") })

      const identities = yield* build(directory(folder))
      assert.deepStrictEqual(yield* authenticate(identities, "alice", secretOf("a")), {
        name: "alice",
        maxDataCharacters: 65536
      })
      assert.deepStrictEqual(yield* authenticate(identities, "b-o_B9", secretOf("b")), {
        name: "b-o_B9",
        maxDataCharacters: 16384
      })
      assert.isDefined(yield* authenticate(identities, longest, secretOf("x")))
      for (const [name, letter] of [["carol", "c"], ["carol.cfg", "c"], ["da ve", "d"], ["eve", "e"]] as const) {
        assert.isUndefined(yield* authenticate(identities, name, secretOf(letter)))
      }
    }))

  it.effect("reads them once, so the answer to a request waits for no disk", () =>
    Effect.gen(function*() {
      const folder = yield* temporary
      write(folder, "alice.cfg", { Identity: secretOf("a") })
      const identities = yield* build(directory(folder))
      fs.rmSync(path.join(folder, "alice.cfg"))
      write(folder, "bob.cfg", { Identity: secretOf("b") })
      assert.isDefined(yield* authenticate(identities, "alice", secretOf("a")))
      assert.isUndefined(yield* authenticate(identities, "bob", secretOf("b")))
    }))

  it.effect("knows nobody in an empty folder, and fails without one", () =>
    Effect.gen(function*() {
      const folder = yield* temporary
      assert.strictEqual((yield* build(directory(folder))).maxDataCharacters, 0)
      const error = yield* Effect.flip(build(directory(path.join(folder, "missing"))))
      assert.strictEqual(error._tag, "PlatformError")
    }))

  it.effect("fails at a broken file, and shows which, but none of its text", () =>
    Effect.gen(function*() {
      const secret = "the-secret-".repeat(100)
      for (
        const broken of [
          "",
          secret,
          `{"Identity":"${secret}"`,
          `{"Identity":${secret}}`,
          `{"Identity":"${secret}"} ${secret}`,
          { Identity: [secret] },
          { Identity: { [secret]: secret } },
          { Secret: secret },
          [secret],
          { Identity: secret, MaxSize: secret },
          { Identity: secret, MaxSize: -1 },
          { Identity: secret, MaxSize: 0.5 }
        ]
      ) {
        const folder = yield* temporary
        write(folder, "alice.cfg", broken)
        const cause = yield* build(directory(folder)).pipe(Effect.sandbox, Effect.flip)
        const error = Cause.squash(cause)
        assert.instanceOf(error, Identities.IdentityError)
        const shown = shownBy(cause)
        assert.include(shown, path.join(folder, "alice.cfg"))
        assert.notInclude(shown, "the-secret")

        const asClient = yield* readSecret(path.join(folder, "alice.cfg")).pipe(Effect.sandbox, Effect.flip)
        assert.instanceOf(Cause.squash(asClient), Identities.IdentityError)
        assert.notInclude(shownBy(asClient), "the-secret")
      }
    }))
})

describe("create", () => {
  it.effect("writes a new identity that only its owner can read, and that is known from then on", () =>
    Effect.gen(function*() {
      const folder = path.join(yield* temporary, "new", "folder")
      const source = yield* create(folder, "alice")
      assert.strictEqual(source, path.join(folder, "alice.cfg"))
      assert.strictEqual(modeOf(source), 0o600)
      assert.strictEqual(modeOf(folder), 0o700)

      const secret = yield* readSecret(source)
      assert.isAtLeast(Redacted.value(secret).length, 1023)
      const identities = yield* build(directory(folder))
      assert.deepStrictEqual(yield* identities.authenticate("alice", secret), {
        name: "alice",
        maxDataCharacters: 16384
      })
    }))

  it.effect("takes a size, and makes each secret anew", () =>
    Effect.gen(function*() {
      const folder = yield* temporary
      const [alice, bob] = [yield* create(folder, "alice", { maxDataCharacters: 7 }), yield* create(folder, "bob")]
      const [ofAlice, ofBob] = [yield* readSecret(alice), yield* readSecret(bob)]
      assert.notStrictEqual(Redacted.value(ofAlice), Redacted.value(ofBob))
      const identities = yield* build(directory(folder))
      assert.strictEqual((yield* identities.authenticate("alice", ofAlice))?.maxDataCharacters, 7)
      assert.isUndefined(yield* identities.authenticate("alice", ofBob))
    }))

  it.effect("refuses a name that is taken, and leaves its file as it was", () =>
    Effect.gen(function*() {
      const folder = yield* temporary
      const source = path.join(folder, "alice.cfg")
      fs.writeFileSync(source, "precious")
      const error = yield* Effect.flip(create(folder, "alice"))
      assert.strictEqual(error._tag, "IdentityError")
      assert.include(error.message, "exists")
      assert.strictEqual(fs.readFileSync(source, "utf8"), "precious")

      // Nor does it follow a link to where it may not write.
      fs.symlinkSync(path.join(folder, "elsewhere"), path.join(folder, "linked.cfg"))
      assert.strictEqual((yield* Effect.flip(create(folder, "linked")))._tag, "IdentityError")
      assert.isFalse(fs.existsSync(path.join(folder, "elsewhere")))
    }))

  it.effect("refuses a name that is none, before it touches anything", () =>
    Effect.gen(function*() {
      const outside = yield* temporary
      const folder = path.join(outside, "folder")
      for (const name of ["", ".", "..", "../evil", "a/b", "a b", "a.b", "ключ", "a\0", "a\n", "x".repeat(65)]) {
        const error = yield* Effect.flip(create(folder, name))
        assert.strictEqual(error._tag, "IdentityError")
      }
      assert.deepStrictEqual(fs.readdirSync(outside), [])
    }))
})
