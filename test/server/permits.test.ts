/**
 * The extension `permits`: several holders under one name. Each request on each entry is held against a model, and then
 * what is told is asked of a server in memory.
 */
import { assert, describe, it } from "@effect/vitest"
import { Effect, Layer, Redacted, Schema } from "effect"
import { Protocol } from "effect-dlm/protocol"
import { Identities, LockServer, Store } from "effect-dlm/server"
import { TestClock } from "effect/testing"

type Fields = Partial<Protocol.Request>

const holder = (owner: string, weight: Store.Weight, fence: bigint, identity?: string): Store.Permit => ({
  owner,
  identity,
  weight,
  fence,
  label: undefined,
  since: 0,
  endsIn: 5000
})

const next = (owner: string, identity?: string): Store.Next => ({ owner, identity, weight: 1, endsIn: 3000 })

const mine = 7n
const others = 8n

const names = (limit: Store.Limit, light: Store.Weight, heavy: Store.Weight): ReadonlyArray<Store.Permits> =>
  [
    [],
    [holder("me", light, mine)],
    [holder("me", heavy, mine)],
    [holder("other", light, others)],
    [holder("other", heavy, others)],
    [holder("me", light, mine), holder("other", light, others)],
    [holder("me", light, others, "alice")],
    [holder("a", 1, 1n), holder("heir", light, 9n), holder("me", light, mine)],
    [holder("heir", light, 2n), holder("me", light, others)]
  ].flatMap((holders) =>
    [undefined, next("me"), next("other"), next("me", "alice")].flatMap((next) =>
      holders.length === 0 && next === undefined ? [] : [{ limit, holders, next }]
    )
  )

const entries: ReadonlyArray<Store.Entry | undefined> = [
  undefined,
  { owner: "me", identity: undefined, data: undefined },
  { owner: "other", identity: undefined, data: "x" },
  ...names(5, 2, 3),
  ...names(1, 1, 1),
  ...names("shared", 1, "all")
]

const asked: ReadonlyArray<Fields> = [undefined, "5", "3", "1", "shared"].flatMap((Limit) =>
  [undefined, "1", "2", "3", "all"].flatMap((Weight): ReadonlyArray<Fields> =>
    Limit === undefined ? Weight === undefined ? [{}] : [] : Weight === undefined ? [{ Limit }] : [{ Limit, Weight }]
  )
)

const requests: ReadonlyArray<Fields> = [
  ...asked.flatMap((fields): ReadonlyArray<Fields> => [
    { Action: "Lock", ...fields },
    { Action: "Lock", ...fields, Expire: 0 },
    { Action: "Lock", ...fields, Fence: "7" },
    { Action: "Lock", ...fields, Fence: "8" },
    { Action: "Lock", ...fields, Fence: "7", Expire: -1 },
    { Action: "Lock", ...fields, Fence: "7", Heir: "heir" },
    { Action: "Lock", ...fields, Fence: "7", Heir: "me" },
    { Action: "Lock", ...fields, Fence: "6", Heir: "heir" },
    { Action: "Lock", ...fields, Fence: "7", Heir: "new", Expire: 0 }
  ]),
  ...(["TestLock", "Unlock", "Get", "Put", "Erase"] as const).flatMap((Action): ReadonlyArray<Fields> => [
    { Action },
    { Action, Fence: "7" },
    { Action, Fence: "8" },
    { Action, Limit: "5", Weight: "9" }
  ]),
  { Action: "Unlock", Fence: "0" }
]

const requestOf = (fields: Fields): Protocol.Request => ({
  ID: "me",
  FileName: "f",
  Action: "Lock",
  Expire: 30,
  DataStore: "x",
  ...fields
})

/** What a name is, in short: with `+` what begins, and with `!` what is renewed. */
const shown = (limit: string, holders: ReadonlyArray<string>, next: string | undefined): string =>
  holders.length === 0 && next === undefined
    ? "free"
    : `${limit}: ${holders.join(" ")}${next === undefined ? "" : ` then ${next}`}`

const who = ({ identity, owner, weight }: Store.Permit | Store.Admitted | Store.Next) =>
  `${owner}${identity === undefined ? "" : `@${identity}`}*${weight}`

const before = (entry: Store.Entry | undefined): string =>
  entry === undefined
    ? "free"
    : entry.limit === undefined
    ? `of ${entry.owner}`
    : shown(String(entry.limit), entry.holders.map(who), entry.next && who(entry.next))

const after = (entry: Store.Entry | undefined, change: Store.Change): string => {
  switch (change._tag) {
    case "Keep":
      return before(entry)
    case "Remove":
      return "free"
    case "Write":
      return `of ${change.entry.owner}`
    case "Share": {
      const found: ReadonlyArray<unknown> = entry?.limit === undefined ? [] : entry.holders
      const holders = change.holders.map((one) =>
        `${who(one)}${found.includes(one) ? "" : one.fence === undefined ? "+" : one.isRenewed === true ? "!" : "?"}`
      )
      return shown(String(change.limit), holders, change.next && who(change.next))
    }
  }
}

const weightOf = (weight: Store.Weight, limit: Store.Limit): number =>
  weight === "all" ? limit === "shared" ? 1e9 : Infinity : weight

/** What the model says of a request for a name with holders, or for a place among holders. */
const model = (entry: Store.Entry | undefined, request: Protocol.Request, turn: "passes" | "shared") => {
  const { holders, limit, next }: Store.Permits = entry?.limit === undefined
    ? { limit: 1, holders: [], next: undefined }
    : entry
  const same = before(entry)
  const isOf = (owner: string) => (one: Store.Permit | Store.Next) => one.owner === owner && one.identity === undefined
  const me = holders.find(isOf(request.ID))
  const isMeant = request.Fence === undefined || String(me?.fence) === request.Fence
  const nobody = holders.length === 0
  const list = (edit: (one: Store.Permit) => string | undefined, more: ReadonlyArray<string> = []) =>
    shown(String(limit), [...holders.flatMap((one) => edit(one) ?? []), ...more], next && who(next))
  const without = (gone: Store.Permit | undefined) => list((one) => one === gone ? undefined : who(one))
  const refused = `NotOwner, ${same}`

  if (request.Action === "TestLock") return `${me !== undefined ? "Locked" : nobody ? "Unlocked" : "NotOwner"}, ${same}`
  if (request.Fence === "0") return `Unlocked, ${same}`
  if (request.Action === "Unlock") {
    return me !== undefined && isMeant ? `Unlocked, ${without(me)}` : nobody ? `Unlocked, ${same}` : refused
  }
  if (request.Action === "Get" || request.Action === "Erase") return nobody ? `NotFound, ${same}` : refused
  if (request.Action === "Put") return nobody && request.Fence !== undefined ? `Unlocked, ${same}` : refused

  if (entry !== undefined && entry.limit === undefined) return refused
  if (request.Fence !== undefined && nobody) return `Unlocked, ${same}`
  const wantsLimit: Store.Limit | undefined = request.Limit === undefined
    ? undefined
    : request.Limit === "shared"
    ? "shared"
    : Number(request.Limit)
  const wants: Store.Weight = request.Weight === "all" ? "all" : Number(request.Weight ?? 1)
  const renewed = (one: Store.Permit) =>
    wantsLimit === undefined
      ? refused
      : wantsLimit !== limit || wants !== one.weight
      ? `Conflict, ${same}`
      : `Locked, ${request.Expire > 0 ? list((other) => `${who(other)}${one === other ? "!" : ""}`) : without(one)}`
  if (request.Heir !== undefined) {
    const heir = holders.find(isOf(request.Heir))
    if (me === undefined || !isMeant) {
      return heir !== undefined && heir.fence > BigInt(request.Fence!) ? renewed(heir) : refused
    }
    if (wantsLimit === undefined || (heir !== undefined && heir !== me)) return refused
    if (wantsLimit !== limit || wants !== me.weight) return `Conflict, ${same}`
    const heirs = request.Expire > 0 ? [`${request.Heir}*${wants}+`] : []
    return `Locked, ${list((one) => one === me ? undefined : who(one), heirs)}`
  }
  // One that waits for the mutex, and holds a place itself, keeps its turn as any other.
  if (me !== undefined && isMeant && (wantsLimit !== undefined || request.Fence !== undefined)) return renewed(me)
  if (request.Fence !== undefined) return refused
  if (!nobody && wantsLimit !== undefined && wantsLimit !== limit) return `Conflict, ${same}`
  if (next !== undefined && !isOf("me")(next)) return refused
  const most = wantsLimit === "shared" ? 1e9 : wantsLimit ?? 0
  const weights = holders.reduce((sum, { weight }) => sum + weightOf(weight, limit), weightOf(wants, wantsLimit ?? 0))
  const isIn = wantsLimit === undefined ? nobody : weights <= most
  if (isIn && wantsLimit === undefined) return `Locked, ${request.Expire > 0 ? "of me" : "free"}`
  if (isIn) {
    const more = request.Expire > 0 ? [`me*${wants}+`] : []
    return `Locked, ${shown(String(wantsLimit), [...holders.map(who), ...more], undefined)}`
  }
  // It has said so a moment ago, and need not again.
  return turn !== "shared" || (next !== undefined && isOf("me")(next))
    ? refused
    : `NotOwner, ${shown(String(limit), holders.map(who), `me*${wantsLimit === undefined ? "all" : wants}`)}`
}

const turns = {
  passes: undefined,
  shared: 3000
}

/** What is refused before anything is decided. */
const isWrong = ({ Action, Limit, Weight = "1" }: Protocol.Request): boolean =>
  Action === "Lock" && Limit !== undefined &&
  (Limit === "shared" ? Weight !== "1" && Weight !== "all" : Weight === "all" || Number(Weight) > Number(Limit))

describe("each request, on each entry", () => {
  for (const turn of ["passes", "shared"] as const) {
    it(`does what the model says of one that ${turn === "passes" ? turn : "is first over a shared store"}`, () => {
      let pairs = 0
      for (const entry of entries) {
        for (const request of requests.map(requestOf)) {
          // What is only about a mutex is not here, and what is asked of a head is a Lock that may begin.
          if (isWrong(request) || (turn !== "passes" && (request.Action !== "Lock" || request.Fence !== undefined))) {
            continue
          }
          if (entry?.limit === undefined && (request.Action !== "Lock" || request.Limit === undefined)) continue
          const { answer, change } = LockServer.transition(entry, request, undefined, undefined, turns[turn])
          assert.strictEqual(
            `${answer.Status}, ${after(entry, change)}`,
            model(entry, request, turn),
            `${JSON.stringify(request)} on ${before(entry)}`
          )
          if (answer.Status === "Conflict") {
            assert.strictEqual(answer.Limit, String(entry?.limit), "a Conflict tells the present limit")
          }
          pairs++
        }
      }
      assert.isAbove(pairs, turn === "passes" ? 9000 : 1000)
    })
  }
})

const isAnswer = Schema.is(Protocol.Response)

/** Asks, and sees that the answer is one of the protocol. */
const ask = (Action: Protocol.Action, ID: string, fields?: Fields) =>
  LockServer.LockServer.use(({ handle }) =>
    Effect.tap(
      handle({ Seq: "1", ID, FileName: "f", Action, Expire: 30, ...fields }),
      (answer) => Effect.sync(() => assert.isTrue(isAnswer(answer), JSON.stringify(answer)))
    )
  )

const lock = (ID: string, Limit: string, Weight?: string, fields?: Fields) =>
  ask("Lock", ID, { Limit, ...(Weight === undefined ? {} : { Weight }), ...fields })

const statusOf = ({ Status }: Protocol.Response) => Status

const fenceOf = (answer: Protocol.Response): bigint =>
  answer.Status === "Locked" ? BigInt(answer.Fence!) : assert.fail(`no grant: ${answer.Status}`)

const secret = (name: string) => Redacted.make(name.repeat(1023).slice(0, 1023))
const alice = { Name: "alice", Identity: secret("alice") }
const bob = { Name: "bob", Identity: secret("bob") }

const inMemory = Effect.provide(LockServer.layerMemory)
const withIdentities = Effect.provide(
  LockServer.layer.pipe(Layer.provide([Store.layerMemory, Identities.layer([alice, bob])]))
)

describe("words that are no limit, or no weight", () => {
  // Over the wire they are no request; who talks to a server in the same process need not pass a wire.
  const odd = [
    "",
    " ",
    "0",
    "00",
    "01",
    "1.5",
    "1e3",
    "-1",
    "+1",
    "0x10",
    "1_000",
    "1000000000",
    "9".repeat(400),
    "NaN",
    "Infinity",
    "many",
    "SHARED",
    "All",
    "١",
    "1\n"
  ]
  for (const word of odd) {
    it.effect(JSON.stringify(word), () =>
      Effect.gen(function*() {
        for (const fields of [{ Limit: word }, { Limit: "5", Weight: word }, { Limit: "shared", Weight: word }]) {
          assert.deepStrictEqual(yield* ask("Lock", "me", fields), { Status: "BadPayload" }, JSON.stringify(fields))
          const line = Protocol.encodeRequest({ ID: "me", FileName: "f", Action: "Lock", Expire: 30, ...fields })
          assert.strictEqual(Protocol.decodeRequest(line.subarray(0, -1), 32)._tag, "Failure", JSON.stringify(fields))
        }
        assert.strictEqual((yield* ask("TestLock", "me")).Status, "Unlocked")
      }).pipe(inMemory))
  }

  it.effect("do not fit together", () =>
    Effect.gen(function*() {
      const wrong: ReadonlyArray<Fields> = [
        { Weight: "1" },
        { Weight: "all" },
        { Limit: "5", Weight: "6" },
        { Limit: "5", Weight: "all" },
        { Limit: "shared", Weight: "2" }
      ]
      yield* lock("holder", "5")
      for (const fields of wrong) {
        for (const more of [{}, { Wait: 1000 }, { Fence: "1" }, { Fence: "1", Heir: "heir" }]) {
          assert.deepStrictEqual(yield* ask("Lock", "me", { ...fields, ...more }), { Status: "BadPayload" })
        }
        // In other actions both are ignored.
        for (const Action of ["Unlock", "TestLock", "Get", "Put", "Erase"] as const) {
          assert.strictEqual((yield* ask(Action, "me", { DataStore: "x", ...fields })).Status, "NotOwner")
        }
      }
      assert.strictEqual((yield* ask("Unlock", "holder", { Limit: "7", Weight: "9" })).Status, "Unlocked")
    }).pipe(inMemory))

  it.effect("are at their bounds", () =>
    Effect.gen(function*() {
      for (const [Limit, Weight] of [["1", "1"], ["999999999", "999999999"], ["shared", "all"]] as const) {
        assert.strictEqual((yield* lock("me", Limit, Weight)).Status, "Locked")
        assert.strictEqual((yield* lock("other", Limit)).Status, "NotOwner")
        yield* ask("Unlock", "me")
      }
    }).pipe(inMemory))
})

describe("holders", () => {
  it.effect("have their own fences and ends, each", () =>
    Effect.gen(function*() {
      const a = fenceOf(yield* lock("a", "3", undefined, { Expire: 10 }))
      const b = fenceOf(yield* lock("b", "3", undefined, { Expire: 20 }))
      const c = fenceOf(yield* lock("c", "3", undefined, { Expire: 30 }))
      assert.isTrue(a < b && b < c)
      yield* TestClock.adjust(9_999)
      assert.strictEqual((yield* lock("d", "3")).Status, "NotOwner")
      assert.strictEqual(fenceOf(yield* lock("b", "3", undefined, { Expire: 1 })), b)
      yield* TestClock.adjust(1)
      assert.strictEqual((yield* ask("TestLock", "a")).Status, "NotOwner")
      const d = fenceOf(yield* lock("d", "3"))
      assert.isTrue(d > c)
      assert.strictEqual((yield* lock("e", "3")).Status, "NotOwner")
      yield* TestClock.adjust(999)
      assert.strictEqual((yield* ask("TestLock", "b")).Status, "NotOwner")
      assert.isTrue(fenceOf(yield* lock("e", "3")) > d)
      assert.strictEqual(fenceOf(yield* lock("c", "3", undefined, { Fence: String(c) })), c)
    }).pipe(inMemory))

  it.effect("are told of to who is refused: the one that ends first, and never its owner", () =>
    Effect.gen(function*() {
      yield* TestClock.adjust(1_000)
      yield* lock("the owner", "2", undefined, { Label: "late", Expire: 60 })
      yield* TestClock.adjust(1_000)
      yield* lock("the owner of another", "2", undefined, { Label: "early", Expire: 30 })
      yield* TestClock.adjust(1_000)
      const Holder = { Label: "early", Since: "2000", ExpiresIn: "29000", Held: "2" }
      for (
        const refused of [
          lock("me", "2"),
          ask("Lock", "me"),
          ask("Get", "me"),
          ask("Unlock", "me"),
          ask("TestLock", "me")
        ]
      ) {
        const answer = yield* refused
        assert.deepStrictEqual(answer, { Status: "NotOwner", Holder, Waiting: "0" })
        assert.notInclude(JSON.stringify(answer), "the owner")
      }
      assert.deepStrictEqual(yield* lock("me", "3"), { Status: "Conflict", Limit: "2" })
    }).pipe(inMemory))

  it.effect("keep a label until another is named, and an heir has its own", () =>
    Effect.gen(function*() {
      const told = Effect.map(
        ask("TestLock", "me"),
        (answer) => answer.Status === "NotOwner" ? answer.Holder?.Label : assert.fail(answer.Status)
      )
      const Fence = String(fenceOf(yield* lock("holder", "2", undefined, { Label: "one" })))
      const labels: ReadonlyArray<readonly [Fields, string | undefined]> = [
        [{}, "one"],
        [{ Label: "two" }, "two"],
        [{ Fence }, "two"],
        [{ Label: "" }, ""],
        [{ Fence, Heir: "heir" }, undefined]
      ]
      for (const [fields, label] of labels) {
        fenceOf(yield* lock("holder", "2", undefined, fields))
        assert.strictEqual(yield* told, label)
      }
    }).pipe(inMemory))

  it.effect("that are held for no time are granted, have no fence, and are not there", () =>
    Effect.gen(function*() {
      for (const Expire of [0, -1, -1e308]) {
        assert.deepStrictEqual(yield* lock("me", "2", undefined, { Expire }), { Status: "Locked", ID: "me" })
        assert.strictEqual((yield* ask("TestLock", "me")).Status, "Unlocked")
        const other = fenceOf(yield* lock("other", "2"))
        // It is not told the fence of another, as if it were its own.
        assert.deepStrictEqual(yield* lock("me", "2", undefined, { Expire }), { Status: "Locked", ID: "me" })
        fenceOf(yield* lock("me", "2"))
        assert.deepStrictEqual(yield* lock("me", "2", undefined, { Expire }), { Status: "Locked", ID: "me" })
        assert.strictEqual((yield* ask("TestLock", "me")).Status, "NotOwner")
        assert.strictEqual(fenceOf(yield* lock("other", "2")), other)
        yield* ask("Unlock", "other")
      }
    }).pipe(inMemory))

  it("are at most 1000, whatever the limit", () => {
    for (const Limit of ["999999999", "shared"]) {
      for (const count of [999, 1000]) {
        const holders = Array.from({ length: count }, (_, i) => holder(`owner ${i}`, 1, BigInt(i + 1)))
        const entry = { limit: Limit === "shared" ? Limit : Number(Limit), holders, next: undefined } as const
        const statusFor = (ID: string) =>
          LockServer.transition(entry, requestOf({ ID, Limit }), undefined).answer.Status
        assert.strictEqual(statusFor("one more"), count < 1000 ? "Locked" : "NotOwner")
        assert.strictEqual(statusFor("owner 500"), "Locked")
      }
    }
  })

  it.effect("are of the identity that asked", () =>
    Effect.gen(function*() {
      const fences = yield* Effect.forEach([{}, alice, bob], (identity) =>
        Effect.map(lock("id", "3", undefined, identity), fenceOf))
      assert.strictEqual(new Set(fences).size, 3)
      const Fence = String(fences[1])
      for (const identity of [{}, bob]) {
        const strange: ReadonlyArray<Fields> = [{ Fence }, { Fence, Heir: "heir" }]
        for (const fields of strange) {
          assert.strictEqual((yield* lock("id", "3", undefined, { ...identity, ...fields })).Status, "NotOwner")
        }
        assert.strictEqual((yield* ask("Unlock", "id", { ...identity, Fence })).Status, "NotOwner")
        assert.strictEqual((yield* ask("Unlock", "id", identity)).Status, "Unlocked")
      }
      assert.strictEqual(fenceOf(yield* lock("id", "3", undefined, { ...alice, Fence })), fences[1])
    }).pipe(withIdentities))

  it.effect("live as long as can be counted", () =>
    Effect.gen(function*() {
      const fence = fenceOf(yield* lock("me", "2", undefined, { ...alice, Expire: 1e308 }))
      yield* TestClock.adjust("1 hour")
      assert.deepStrictEqual(yield* ask("Get", "other"), {
        Status: "NotOwner",
        Holder: { Since: "0", ExpiresIn: String(1e14 - 3_600_000) },
        Waiting: "0"
      })
      assert.strictEqual(fenceOf(yield* lock("me", "2", undefined, { ...alice, Expire: 1e308 })), fence)
    }).pipe(withIdentities))
})

describe("a tenure of one of several", () => {
  it.effect("passes to an heir, as often as that is repeated", () =>
    Effect.gen(function*() {
      const Fence = String(fenceOf(yield* lock("me", "4", "2", { Label: "mine" })))
      const other = fenceOf(yield* lock("other", "4", "2"))
      const pass = (fields?: Fields) => lock("me", "4", "2", { Fence, Heir: "heir", ...fields })
      assert.deepStrictEqual(yield* lock("me", "4", undefined, { Fence, Heir: "heir" }), {
        Status: "Conflict",
        Limit: "4"
      })
      assert.strictEqual((yield* pass({ Heir: "other" })).Status, "NotOwner")
      const heirs = fenceOf(yield* pass())
      assert.isTrue(heirs > other)
      yield* TestClock.adjust(29_000)
      assert.strictEqual(fenceOf(yield* pass()), heirs)
      yield* TestClock.adjust(29_000)
      // Its time counts from the repetition, and that of the other has passed.
      assert.strictEqual((yield* ask("TestLock", "heir")).Status, "Locked")
      assert.strictEqual((yield* ask("TestLock", "other")).Status, "NotOwner")
      assert.strictEqual((yield* ask("Unlock", "me", { Fence })).Status, "NotOwner")
      assert.strictEqual((yield* lock("me", "4", "2", { Fence })).Status, "NotOwner")
      assert.strictEqual((yield* ask("Unlock", "heir", { Fence: String(heirs) })).Status, "Unlocked")
      assert.strictEqual(statusOf(yield* pass()), "Unlocked")
    }).pipe(inMemory))

  it.effect("may pass to its own owner: the former fence is over", () =>
    Effect.gen(function*() {
      const first = fenceOf(yield* lock("me", "2"))
      const again = { Fence: String(first), Heir: "me" }
      const second = fenceOf(yield* lock("me", "2", undefined, again))
      assert.isTrue(second > first)
      assert.strictEqual(fenceOf(yield* lock("me", "2", undefined, again)), second)
      assert.strictEqual((yield* ask("Unlock", "me", { Fence: String(first) })).Status, "NotOwner")
      assert.strictEqual(statusOf(yield* lock("other", "2")), "Locked")
      assert.strictEqual(statusOf(yield* lock("third", "2")), "NotOwner")
    }).pipe(inMemory))

  it.effect("is not renewed by a lock without a limit, nor is a mutex by one with", () =>
    Effect.gen(function*() {
      const fence = fenceOf(yield* lock("me", "2"))
      const plain: ReadonlyArray<Fields> = [{}, { Fence: String(fence) }, { Fence: String(fence), Heir: "heir" }]
      yield* TestClock.adjust(20_000)
      for (const fields of plain) assert.strictEqual((yield* ask("Lock", "me", fields)).Status, "NotOwner")
      yield* TestClock.adjust(10_000)
      const mutex = fenceOf(yield* ask("Lock", "me"))
      assert.isTrue(mutex > fence)
      yield* TestClock.adjust(20_000)
      const wrong: ReadonlyArray<Fields> = [{}, { Fence: String(mutex) }, { Fence: String(mutex), Heir: "heir" }]
      for (const fields of wrong) assert.strictEqual((yield* lock("me", "2", undefined, fields)).Status, "NotOwner")
      yield* TestClock.adjust(10_000)
      assert.strictEqual(statusOf(yield* lock("other", "2")), "Locked")
    }).pipe(inMemory))
})
