/**
 * What users get wrong, with types or without: each mistake is an error that names it, and nothing is asked of a server.
 */
import { assert, describe, it } from "@effect/vitest"
import { Effect, Exit, Layer, Redacted } from "effect"
import { Lease, Locker, Talker } from "effect-dlm"
import { MockTalker } from "effect-dlm/testing"

/** A Talker that must not be asked. */
const nobody = Layer.succeed(Talker.Talker, {
  talk: ({ Action, FileName }) => Effect.die(new Error(`${Action} of ${FileName} was sent`))
})

/** What a caller writes that no type has looked at. */
// oxlint-disable-next-line no-explicit-any
const untyped = (value: unknown): any => value

const byTypes = (self: Effect.Effect<unknown, unknown, unknown>) =>
  self as Effect.Effect<unknown, Lease.WithLockError, Talker.Talker>

const long = "ü".repeat(257)
const secret = Redacted.make("secret")

type Mistake = readonly [what: string, option: string, message: string, options?: object, target?: unknown]

const mistakes: ReadonlyArray<Mistake> = [
  ["an empty name", "name", "must not be empty", {}, ""],
  ["a name that is too long", "name", "at most 512 bytes", {}, long],
  ["half of a character", "name", "must be whole text", {}, "\ud800"],
  ["no target", "target", "must be a name, or a claim such as a Locker, and is undefined", {}, undefined],
  ["null for a target", "target", "and is null", {}, null],
  ["a number for a target", "target", "and is a number", {}, 42],
  ["options for a target", "target", "and is an object", {}, { wait: "1 second" }],
  ["a Locker that was not made yet", "target", "is an Effect: yield* it first", {}, Locker.make("a")],
  ["no options but null", "options", "must be an object, and is null", untyped(null)],
  ["a string for options", "options", "must be an object", untyped("2 seconds")],
  ["a wait that is misspelt", "wait", "is no duration: \"2 secnds\"", { wait: "2 secnds" }],
  ["a negative wait", "wait", "must not be negative", { wait: -1 }],
  ["a wait that is not a number", "wait", "is no duration: NaN", { wait: NaN }],
  ["null for a wait", "wait", "is no duration: null", { wait: null }],
  ["a ttl of nothing", "ttl", "must be greater than zero", { ttl: 0 }],
  ["a ttl for ever", "ttl", "must be greater than zero, and finite", { ttl: "Infinity" }],
  ["a ttl that is misspelt", "ttl", "is no duration: \"soon\"", { ttl: "soon" }],
  ["a margin that leaves nothing", "margin", "must be at most 95 % of the time to live", { margin: "30 seconds" }],
  ["a negative margin", "margin", "and not negative", { margin: -1 }],
  ["a margin of a shorter ttl", "margin", "must be at most 95 %", { ttl: "1 second", margin: "2 seconds" }],
  ["a maxHold of nothing", "maxHold", "must be greater than zero", { maxHold: 0 }],
  ["a label that is no text", "label", "must be whole text", { label: 7 }],
  ["a label that is too long", "label", "must have at most 256 bytes", { label: "ü".repeat(129) }],
  ["an identity without a secret", "identity", "must have a name, and a secret", { identity: { name: "alice" } }],
  ["an identity whose secret is plain", "identity", "that is Redacted", { identity: { name: "a", secret: "plain" } }],
  ["an option that is misspelt", "wiat", "wiat is none of Lease", { wiat: "2 seconds" }],
  ["an identity without a name", "identity", "must have a name, and a secret", { identity: { name: "", secret } }],
  ["a poll that is no Schedule", "poll", "must be a Schedule", { poll: "1 second" }]
]

const ways: Readonly<
  Record<string, (target: unknown, options: object) => Effect.Effect<unknown, Lease.WithLockError>>
> = {
  withLock: (target, options) => untyped(Lease.withLock)(Effect.void, target, options),
  "withLock, data-last": (target, options) => Effect.void.pipe(untyped(Lease.withLock)(target, options)),
  withLockIfAvailable: (target, options) => untyped(Lease.withLockIfAvailable)(Effect.void, target, options),
  withLocks: (target, options) => untyped(Lease.withLocks)(Effect.void, [target], options),
  use: (target, options) => untyped(Lease.use)(target, options, () => Effect.void),
  acquire: (target, options) => Effect.scoped(untyped(Lease.acquire)(target, options)),
  withLockProvided: (target, options) => untyped(Lease.withLockProvided)(Effect.void, Lease.tag("a"), target, options),
  withLockProvidedIfAvailable: (target, options) =>
    untyped(Lease.withLockProvidedIfAvailable)(Effect.void, Lease.tag("a"), target, options),
  withLocksProvided: (target, options) =>
    untyped(Lease.withLocksProvided)(Effect.void, [[Lease.tag("a"), target]], options)
}

const optionOf = (error: Lease.WithLockError) => {
  assert(error._tag === "LockUnavailable" && error.reason._tag === "InvalidOption")
  return error.reason.option
}

describe("a mistake is told by its name, and asks nothing of a server:", () => {
  for (const [what, option, message, options = {}, target = "order/7"] of mistakes) {
    // The default of a missing target would hide it.
    const given = what === "no target" ? undefined : target
    for (const [way, call] of Object.entries(ways)) {
      // What is wanted at once waits for nothing.
      if (way.endsWith("IfAvailable") && option === "wait") continue
      // As the first argument it is the body: the types alone can tell.
      if (way === "withLock, data-last" && what === "a Locker that was not made yet") continue
      it.effect(`${what}, by ${way}`, () =>
        Effect.gen(function*() {
          const error = yield* Effect.flip(call(given, options))
          assert.strictEqual(optionOf(error), option)
          assert.include(error.message, `${option} `)
          assert.include(error.message, message)
          if (option !== "name" && option !== "target") assert.include(error.message, "\"order/7\"")
        }).pipe(Effect.provide(nobody)))
    }
  }

  for (const targets of ["abc", undefined, null, 42]) {
    it.effect(`${String(targets)} for several targets`, () =>
      Effect.gen(function*() {
        const first = yield* Effect.flip(byTypes(untyped(Lease.withLocks)(Effect.void, targets)))
        const last = yield* Effect.flip(byTypes(Effect.void.pipe(untyped(Lease.withLocks)(targets))))
        for (const error of [first, last]) {
          assert.strictEqual(optionOf(error), "targets")
          assert.include(error.message, "targets must be a list, and is ")
        }
      }).pipe(Effect.provide(nobody)))
  }

  const tag = Lease.tag("orders")
  const others: ReadonlyArray<readonly [string, string, string, () => unknown]> = [
    ["no body", "body", "must be an Effect, and is undefined", () => untyped(Lease.withLock)(undefined, "a")],
    ["a Promise for a body", "body", "a Promise", () => untyped(Lease.withLock)(Promise.resolve(1), "a", {})],
    ["no body, piped", "body", "is undefined", () => untyped(Lease.withLock)("a")(undefined)],
    ["no body of several", "body", "is undefined", () => untyped(Lease.withLocks)(undefined, ["a"])],
    ["no function", "body", "must be a function of the lease, and is undefined", () => untyped(Lease.use)("a")],
    ["no function behind options", "body", "is undefined", () => untyped(Lease.use)("a", {}, undefined)],
    ["an Effect for a function", "body", "is an Effect", () => untyped(Lease.use)("a", Effect.void)],
    [
      "no tag",
      "tag",
      "must be made by Lease.tag, and is undefined",
      () => untyped(Lease.withLockProvided)(Effect.void, undefined, "a")
    ],
    ["a name for a tag", "tag", "and is a string", () => untyped(Lease.withLockProvided)(Effect.void, "orders", "a")],
    ["no body under a tag", "body", "is undefined", () => untyped(Lease.withLockProvided)(undefined, tag, "a")],
    [
      "no pairs",
      "held",
      "must be a list, and is undefined",
      () => untyped(Lease.withLocksProvided)(Effect.void, undefined)
    ],
    ["text for pairs", "held", "and is a string", () => untyped(Lease.withLocksProvided)(Effect.void, "abc")],
    [
      "text for a pair",
      "held",
      "must each be [tag, target]",
      () => untyped(Lease.withLocksProvided)(Effect.void, ["abc"])
    ],
    [
      "a pair without a tag",
      "held",
      "the tag must be made by Lease.tag",
      () => untyped(Lease.withLocksProvided)(Effect.void, [[undefined, "a"]])
    ]
  ]
  for (const [what, option, message, call] of others) {
    it.effect(what, () =>
      Effect.gen(function*() {
        const error = yield* Effect.flip(byTypes(call() as Effect.Effect<unknown>))
        assert.strictEqual(optionOf(error), option)
        assert.include(error.message, message)
      }).pipe(Effect.provide(nobody)))
  }

  it.effect("a function that gives no Effect is told where it is run", () =>
    Effect.gen(function*() {
      const error = yield* Effect.flip(byTypes(untyped(Lease.use)("a", () => Promise.resolve(1))))
      assert.strictEqual(optionOf(error), "body")
      assert.include(error.message, "must give an Effect, and gives a Promise: use Effect.promise")
    }).pipe(Effect.provide(MockTalker.layerFree)))

  for (const defaults of [undefined, null, "2 seconds", { tll: 1 }]) {
    it.effect(`defaults that are ${JSON.stringify(defaults)}`, () =>
      Effect.gen(function*() {
        const error = yield* Effect.flip(Lease.withLock(Effect.void, "order/7"))
        assert.strictEqual(optionOf(error), "Lease.Defaults")
      }).pipe(Effect.provide(Lease.layerDefaults(untyped(defaults))), Effect.provide(nobody)))
  }

  it.effect("the same mistake in the defaults", () =>
    Effect.gen(function*() {
      const error = yield* Effect.flip(Lease.withLock(Effect.void, "order/7"))
      assert.strictEqual(optionOf(error), "margin")
    }).pipe(Effect.provide(Lease.layerDefaults({ margin: "1 hour" })), Effect.provide(nobody)))

  it.effect("an empty list of targets is nothing to wait for", () =>
    Effect.gen(function*() {
      assert.strictEqual(yield* Effect.succeed(1).pipe(Lease.withLocks([])), 1)
    }).pipe(Effect.provide(nobody)))

  const ofLockers: ReadonlyArray<readonly [string, unknown, object, string]> = [
    ["an empty name", "", {}, "name"],
    ["a name that is too long", long, {}, "name"],
    ["no name", undefined, {}, "name"],
    ["an empty id", "a", { id: "" }, "id"],
    ["an id that is no text", "a", { id: 7 }, "id"],
    ["an id with half of a character", "a", { id: "\ud800" }, "id"],
    ["a ttl of nothing", "a", { ttl: 0 }, "ttl"],
    ["a ttl that is misspelt", "a", { ttl: "soon" }, "ttl"],
    ["a label that is too long", "a", { label: "x".repeat(257) }, "label"],
    ["an identity without a secret", "a", { identity: { name: "alice" } }, "identity"],
    ["null for an identity", "a", { identity: null }, "identity"],
    ["null for a ttl", "a", { ttl: null }, "ttl"],
    ["a retry that is no Schedule", "a", { retry: "1 second" }, "retry"],
    ["a codec that is none", "a", { codec: 42 }, "codec"],
    ["null for options", "a", untyped(null), "options"],
    ["text for options", "a", untyped("10 seconds"), "options"]
  ]
  for (const [what, name, options, option] of ofLockers) {
    it.effect(`${what}, of a Locker`, () =>
      Effect.gen(function*() {
        const error = yield* Effect.flip(Locker.make(untyped(name), options))
        assert(error._tag === "InvalidOption" && error.option === option)
      }).pipe(Effect.provide(nobody)))
  }

  for (const token of [{ name: "a", id: "", expiresAt: 0 }, undefined, null, "token"]) {
    it.effect(`a token of nobody: ${JSON.stringify(token)}`, () =>
      Effect.gen(function*() {
        const error = yield* Effect.flip(Effect.scoped(Locker.resume(untyped(token))))
        assert.strictEqual(optionOf(error), "token")
      }).pipe(Effect.provide(nobody)))
  }
})

describe("a missing layer", () => {
  it.effect("is a defect that names the service", () =>
    Effect.gen(function*() {
      const exit = yield* Effect.exit(
        byTypes(Lease.withLock(Effect.void, "a")) as Effect.Effect<unknown, Lease.WithLockError>
      )
      assert(Exit.isFailure(exit))
      assert.include(String(exit.cause), "effect-dlm/Talker")
    }))
})
