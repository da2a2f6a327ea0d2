/**
 * What is kept of holders, and what lives of it: against a model, through the text of a row, over stores that tell a clock
 * at once, only with what is there, or not at all.
 */
import { assert, describe, it } from "@effect/vitest"
import { Effect, Result, Schema } from "effect"
import type { Store } from "effect-dlm/server"
import { inspect } from "node:util"
import * as Holders from "../../src/store/Holders.ts"
import * as Row from "../../src/store/Row.ts"
import { admitted } from "../../src/testing/contract/holders.ts"

/** When a store tells its clock: always, with what it finds, or never. Then it says which places are there. */
type Telling = "always" | "with what is there" | "never"

/** What the model says of one that is there. */
interface Modelled extends Owner {
  readonly weight: Store.Weight
  readonly label: string | undefined
  readonly since: number
  readonly fence: bigint
  readonly endsAt: number
  readonly isRenewed: boolean
}

interface StoredRow {
  readonly data: string
  readonly revision: bigint
  readonly endsAt: number
}

const succeed = <A, E>(result: Result.Result<A, E>): A =>
  Result.isSuccess(result) ? result.success : assert.fail(String(result.failure))

/** A store of one row, whose clock goes on by hand. */
class RowStore {
  readonly telling: Telling
  now = 1_000
  private row: StoredRow | undefined
  private revision = 10n
  private readonly places = new Map<number, number>()

  constructor(telling: Telling) {
    this.telling = telling
  }

  get isFree(): boolean {
    return this.row === undefined || this.row.endsAt <= this.now
  }

  private get kept(): Holders.Kept | undefined {
    return this.isFree
      ? undefined
      : succeed(Row.keptOf({ owner: "", identity: "\0", data: this.row!.data }) ?? assert.fail("no row of holders"))
  }

  read(): Store.Permits | undefined {
    const { kept, now, telling } = this
    return kept && Holders.living(kept, {
      revision: this.row!.revision,
      expiresIn: telling === "never" ? Infinity : this.row!.endsAt - now,
      now: telling === "never" ? undefined : now,
      places: telling !== "never" ? undefined : new Map(
        [...this.places].flatMap(([place, endsAt]) => endsAt <= now ? [] : [[place, Infinity] as const])
      )
    })
  }

  /** Makes a change that takes so long. Says when what is written begins to live, and with which revision. */
  write(
    decide: (permits: Store.Permits | undefined) => Store.Share,
    takes: number
  ): { from: number; revision: bigint } {
    const permits = this.read()
    const isThere = !this.isFree
    const told = this.telling === "always" || (this.telling === "with what is there" && isThere) ? this.now : undefined
    const change = Row.changeOf(decide(permits), permits, isThere, told, () => this.now)
    this.now += this.telling === "always" ? 0 : takes
    // It is not as it was found.
    if (isThere && this.isFree) return this.write(decide, takes)
    if (change._tag === "Keep") return assert.fail("nothing was written")
    for (const place of change.gone ?? []) this.places.delete(place)
    if (change._tag === "Remove") {
      this.row = undefined
    } else {
      assert.isAtMost(change.ttlMillis, maxMillis, "a row outlives its holders")
      this.row = { data: change.entry.data!, revision: ++this.revision, endsAt: this.now + change.ttlMillis }
      for (const [place, ttl] of change.written!) this.places.set(place, this.now + ttl)
      this.checkPlaces()
    }
    return { from: told ?? this.now, revision: this.revision }
  }

  private checkPlaces(): void {
    const { holders, next } = this.kept ?? { holders: [], next: undefined }
    const places = holders.map(({ place }) => place)
    assert.strictEqual(new Set(places).size, places.length, `places clash: ${places}`)
    assert.isTrue(places.every((place) => place > 0), `the place of who is next was given away: ${places}`)
    if (this.telling !== "never") return
    // Dead ones are left to their own end, unless their place is another's by now.
    const there = [...this.places].filter(([, endsAt]) => endsAt > this.now).map(([place]) => place)
    const wanted = next === undefined ? places : [...places, next.place]
    for (const place of there) assert.include(wanted, place, "a place is there that is nobody's")
  }
}

/** The longest time to live. */
const maxMillis = 60

const Step = Schema.Struct({
  what: Schema.Literals(["admit", "admit", "renew", "renew", "release", "passOn", "next", "noNext", "pass"]),
  who: Schema.Int.check(Schema.isBetween({ minimum: 0, maximum: 3 })),
  heir: Schema.Int.check(Schema.isBetween({ minimum: 0, maximum: 3 })),
  millis: Schema.Int.check(Schema.isBetween({ minimum: 1, maximum: maxMillis })),
  takes: Schema.Int.check(Schema.isBetween({ minimum: 0, maximum: 4 }))
})

/** Two of the four have the same text, under two identities. */
const ownerOf = (who: number) => ({ owner: `owner ${who >> 1}`, identity: who % 2 === 0 ? undefined : "an identity" })

type Owner = ReturnType<typeof ownerOf>

const isOf = (one: Owner, other: Owner | undefined): boolean =>
  one.owner === other?.owner && one.identity === other.identity

/** What a step does: holders that go, one that is renewed, one that begins, and who is next. */
interface Edit {
  readonly gone?: ReadonlyArray<Owner>
  readonly renewed?: Owner & { readonly label: string; readonly endsIn: number }
  readonly begun?: Owner & { readonly endsIn: number }
  readonly next?: { readonly is: Store.Next | undefined }
}

/** A store beside the model of it. */
class Compared {
  readonly store: RowStore
  private model: ReadonlyArray<Modelled> = []
  private next: { readonly endsAt: number; readonly weight: number } | undefined

  constructor(telling: Telling) {
    this.store = new RowStore(telling)
  }

  /** A step, on whoever is there of those that it is about. */
  step({ heir, millis, takes, what, who }: typeof Step.Type): void {
    const [owner, other] = [ownerOf(who), ownerOf(heir)]
    const isThere = this.model.some((one) => isOf(one, owner))
    if (what === "pass") {
      this.store.now += millis
    } else if (what === "next" || what === "noNext") {
      const is = what === "noNext" ? undefined : { owner: "next", identity: "i", weight: who + 1, endsIn: millis }
      this.edit({ next: { is } }, takes)
    } else if (what === "admit") {
      if (!isThere) this.edit({ begun: { ...owner, endsIn: millis } }, takes)
    } else if (isThere) {
      this.edit(
        what === "renew"
          ? { renewed: { ...owner, label: `label ${heir}`, endsIn: millis } }
          : what === "release"
          ? { gone: [owner] }
          : { gone: [owner, other], begun: { ...other, endsIn: millis } },
        takes
      )
    }
    this.check()
  }

  private edit({ begun, gone = [], next, renewed }: Edit, takes: number): void {
    const begins = begun && { ...begun, weight: begun.endsIn, label: `of ${begun.endsIn}` }
    const isKept = (one: Owner) => !gone.some((other) => isOf(one, other))
    // What was there when it was decided for the last time.
    let [found, since] = [this.model, 0]
    const { from, revision } = this.store.write((permits) => {
      this.bury()
      found = this.model
      since = this.store.now
      return {
        _tag: "Share",
        limit: 7,
        holders: [
          ...(permits?.holders ?? []).filter(isKept).flatMap((one) =>
            isOf(one, renewed) ? [{ ...one, ...renewed, isRenewed: true }] : [one]
          ),
          ...(begins === undefined ? [] : [{ ...begins, since: undefined, fence: undefined }])
        ],
        next: next === undefined ? permits?.next : next.is
      }
    }, takes)
    this.model = [
      ...found.filter(isKept).flatMap((one) =>
        renewed !== undefined && isOf(one, renewed)
          ? [{ ...one, label: renewed.label, isRenewed: true, endsAt: from + renewed.endsIn }]
          : [one]
      ),
      ...(begins === undefined ? [] : [
        { ...begins, since, fence: revision, endsAt: from + begins.endsIn, isRenewed: false }
      ])
    ]
    if (next !== undefined) this.next = next.is && { endsAt: from + next.is.endsIn, weight: Number(next.is.weight) }
  }

  private bury(): void {
    const { now } = this.store
    this.model = this.model.filter(({ endsAt }) => endsAt > now)
    if (this.next !== undefined && this.next.endsAt <= now) this.next = undefined
  }

  private check(): void {
    this.bury()
    const { now } = this.store
    const permits = this.store.read()
    const endsIn = (endsAt: number) => this.store.telling === "never" ? Infinity : endsAt - now
    assert.deepStrictEqual(
      (permits?.holders ?? []).map((
        { endsIn, fence, identity, isRenewed, label, owner, since, weight }
      ) => ({ endsIn, fence, identity, isRenewed, label, owner, since, weight })),
      this.model.map(({ endsAt, fence, identity, isRenewed, label, owner, since, weight }) => ({
        endsIn: endsIn(endsAt),
        fence,
        identity,
        isRenewed,
        label,
        owner,
        since,
        weight
      }))
    )
    const next = permits?.next
    assert.deepStrictEqual(
      next && { owner: next.owner, identity: next.identity, weight: next.weight, endsIn: next.endsIn },
      this.next && { owner: "next", identity: "i", weight: this.next.weight, endsIn: endsIn(this.next.endsAt) }
    )
    assert.strictEqual(permits === undefined, this.model.length === 0 && this.next === undefined)
  }
}

describe("holders", () => {
  for (const telling of ["always", "with what is there", "never"] as const) {
    it.effect.prop(
      `are what a model says, by a store that tells its clock ${telling}`,
      [Schema.Array(Step).check(Schema.isMaxLength(60))],
      ([steps]) =>
        Effect.sync(() => {
          const compared = new Compared(telling)
          for (const step of steps) compared.step(step)
        }),
      { arbitrary: { runs: 1000, size: 60 } }
    )
  }

  it("that are written together take one place each, and one that goes leaves its own", () => {
    const share = (holders: ReadonlyArray<Store.Permit | Store.Admitted>, next?: Store.Next): Store.Share => ({
      _tag: "Share",
      limit: "shared",
      holders,
      next
    })
    const one = (owner: string, endsIn: number) => admitted(owner, { endsIn })
    const wall = () => 5
    const next: Store.Next = { owner: "n", identity: undefined, weight: "all", endsIn: 40 }
    const first = Holders.keeping(share([one("a", 10), one("b", 20)], next), undefined, 100, wall)
    assert.deepStrictEqual([...first.written], [[1, 10], [2, 20], [0, 40]])
    assert.deepStrictEqual([first.gone, first.ttlMillis], [[], 40])
    const found = Holders.living(first.kept, { revision: 3n, expiresIn: 40, now: 100 })!
    const [a, b] = found.holders as [Store.Permit, Store.Permit]
    assert.deepStrictEqual([a.fence, b.fence, a.endsIn, b.endsIn, found.next?.endsIn], [3n, 3n, 10, 20, 40])

    // The place of one that goes is nobody's: not that of one who comes in the same change.
    const second = Holders.keeping(share([b, one("c", 30)]), found, 105, wall)
    assert.deepStrictEqual([[...second.written], second.gone], [[[3, 30]], [0, 1]])
    assert.deepStrictEqual(second.kept.holders.map(({ endsAt, fence, place }) => ({ endsAt, fence, place })), [
      { endsAt: 120, fence: 3n, place: 2 },
      { endsAt: 135, fence: undefined, place: 3 }
    ])
    const last = Holders.keeping(
      share([]),
      Holders.living(second.kept, { revision: 4n, expiresIn: 30, now: 105 }),
      106,
      wall
    )
    assert.deepStrictEqual([last.kept.holders, [...last.written], last.gone, last.ttlMillis], [[], [], [2, 3], 0])
  })
})

describe("what is written of holders", () => {
  const holder = { place: 1, owner: "a secret", weight: 1, ttl: 5, since: 1 }
  const readable = { limit: 5, holders: [holder] }
  const read = (data: string) => Row.keptOf({ owner: "", identity: "\0", data })

  it("is read again, with whatever is in it", () => {
    const texts = ["", "\0", "\ud800", "\"", "__proto__", "ключ 🔑"]
    const holders = texts.map((text, i) => ({
      place: i + 1,
      owner: text,
      identity: text,
      label: text,
      weight: "all" as const,
      ttl: 5,
      since: 1,
      endsAt: 1.5,
      fence: 2n ** 80n,
      renewed: true as const
    }))
    const kept: Holders.Kept = { limit: "shared", holders, next: { ...holders[0]!, place: 0, weight: 3 } }
    const { fence: _, label: __, renewed: ___, since: ____, ...next } = kept.next as (typeof holders)[number]
    const written = Row.rowOf({ ...kept, next })
    assert.deepStrictEqual([written.owner, written.identity], ["", "\0"])
    assert.deepStrictEqual(succeed(read(written.data!)!), { ...kept, next })
  })

  it("is of a row of nobody's, and of no other", () => {
    for (const identity of [undefined, "", "alice"]) {
      assert.isUndefined(Row.keptOf({ owner: "", identity, data: JSON.stringify(readable) }))
    }
    assert.isUndefined(Row.keptOf({ owner: "", identity: "\0", data: undefined }))
    assert.isTrue(Result.isSuccess(read(JSON.stringify(readable))!))
  })

  const unreadable: ReadonlyArray<readonly [string, unknown]> = [
    ["no JSON", "a secret"],
    ["nothing", ""],
    ["no object", "null"],
    ["a limit that is none", { ...readable, limit: "many" }],
    ["no limit", { holders: [] }],
    ["no holders", { limit: 5 }],
    ["a holder without an owner", { ...readable, holders: [{ ...holder, owner: undefined }] }],
    ["a weight that is none", { ...readable, holders: [{ ...holder, weight: "some" }] }],
    ["a fence that is none", { ...readable, holders: [{ ...holder, fence: "a secret" }] }],
    ["an end that is none", { ...readable, holders: [{ ...holder, endsAt: null }] }],
    ["more than is known of a name", { ...readable, revoked: true }],
    ["more than is known of a holder", { ...readable, holders: [{ ...holder, revoked: true }] }],
    ["more than is known of who is next", {
      ...readable,
      next: { place: 0, owner: "n", weight: 1, ttl: 5, revoked: true }
    }]
  ]
  for (const [what, written] of unreadable) {
    it(`is not read where it is ${what}, and not shown either`, () => {
      const kept = read(typeof written === "string" ? written : JSON.stringify(written))!
      const failure = Result.isFailure(kept) ? kept.failure : assert.fail("it was read")
      assert.strictEqual(failure.message, "what is written of its holders is of a later version, or damaged")
      assert.notInclude(inspect(failure, { depth: 9 }), "a secret")
    })
  }
})
