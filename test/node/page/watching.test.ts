/**
 * How the pages that watch are told what they show: by one look for all, seldom enough, and changes only.
 */
import { assert, describe, it } from "@effect/vitest"
import { Effect, Exit, Fiber, Latch, Scope, Stream } from "effect"
import type { Protocol } from "effect-dlm/protocol"
import { TestClock } from "effect/testing"
import * as Asking from "../../../src/node/page/Asking.ts"
import * as Rows from "../../../src/node/page/browser/Rows.ts"
import type { NamesTold, RatesTold, Row, Told } from "../../../src/node/page/browser/Told.ts"
import { beginning, Known } from "../../../src/node/page/Known.ts"
import { rowOf } from "../../../src/node/page/Names.ts"
import * as OneName from "../../../src/node/page/OneName.ts"
import { Rates } from "../../../src/node/page/Rates.ts"
import * as Watching from "../../../src/node/page/Watching.ts"

type Listed = Protocol.ListedName

const listed = (FileName: string, fields: Partial<Listed> = {}): Listed => ({
  FileName,
  Held: "1",
  Waiting: "0",
  Since: "0",
  ExpiresIn: "30000",
  Fence: "1",
  ...fields
})

/** A server that plays what it is told to, and notes what it was asked. */
const played = () => {
  const asked: Array<Protocol.Request> = []
  const server = {
    asked,
    names: [] as ReadonlyArray<Listed>,
    events: [] as ReadonlyArray<Protocol.LoggedEvent>,
    /** How long a list takes. */
    takes: 0,
    list: undefined as Protocol.Response | undefined,
    handle: (request: Protocol.Request): Effect.Effect<Protocol.Response> => {
      asked.push(request)
      if (request.Action === "List") {
        const answer: Protocol.Response = server.list ?? {
          Status: "Listed",
          Names: server.names.filter(({ FileName }) => FileName.startsWith(request.FileName))
        }
        return Effect.as(Effect.sleep(server.takes), answer)
      }
      if (request.Action === "Log") {
        const after = Number(request.After ?? 0)
        const Events = server.events.filter(({ Number: number }) => Number(number) > after)
        return Effect.succeed({ Status: "Logged", Events, After: Events.at(-1)?.Number ?? String(after) })
      }
      return Effect.succeed({ Status: "BadAction" })
    },
    looks: () => asked.filter(({ Action }) => Action === "List").length
  }
  return server
}

const parse = (text: string): { readonly name: keyof Told; readonly told: unknown } => {
  const [, name, data] = /^event: (\w+)\ndata: (.*)\n\n$/.exec(text)!
  return { name: name as keyof Told, told: JSON.parse(data!) }
}

/** A page that watches, and takes what it is told. */
const page = Effect.fnUntraced(function*(watching: Watching.Watching, prefix = "", reads = true) {
  const told: Array<ReturnType<typeof parse>> = []
  let isDropped = false
  const stream = yield* watching.watch(prefix, () => {
    isDropped = true
  })
  if (reads) yield* Effect.forkScoped(Stream.runForEach(stream, (text) => Effect.sync(() => told.push(parse(text)))))
  return {
    all: told,
    names: () => told.filter(({ name }) => name === "names").map(({ told }) => told as NamesTold),
    rates: () => told.filter(({ name }) => name === "rates").map(({ told }) => told as RatesTold),
    problems: () => told.filter(({ name }) => name === "problem").map(({ told }) => told),
    isDropped: () => isDropped
  }
})

describe("pages that watch", () => {
  it.effect("are told what is there, then changes only, by one look for all", () =>
    Effect.gen(function*() {
      const server = played()
      server.names = [listed("a"), listed("b")]
      const watching = yield* Watching.make(server.handle)
      const pages = yield* Effect.all(Array.from({ length: 5 }, () => page(watching)))
      yield* TestClock.adjust("10 millis")
      assert.strictEqual(server.looks(), 1)
      server.names = [listed("b", { Waiting: "1", ExpiresIn: "29500" }), listed("c")]
      yield* TestClock.adjust("500 millis")
      server.names = [listed("b", { Waiting: "1", ExpiresIn: "29000" }), listed("c", { ExpiresIn: "29500" })]
      yield* TestClock.adjust("500 millis")
      assert.strictEqual(server.looks(), 3)
      for (const one of pages) {
        const [first, second, ...others] = one.names()
        assert.deepStrictEqual([first!.isWhole, first!.rows.map(({ name }) => name)], [true, ["a", "b"]])
        assert.deepStrictEqual([second!.isWhole, second!.rows.map(({ name }) => name), second!.gone], [false, [
          "b",
          "c"
        ], ["a"]])
        assert.deepStrictEqual(others, [])
      }
      const late = yield* page(watching)
      yield* TestClock.adjust("10 millis")
      assert.deepStrictEqual(late.names().map(({ isWhole, rows }) => [isWhole, rows.length]), [[true, 2]])
    }))

  it.effect("cost nothing where there are none, and at most a tenth of the time", () =>
    Effect.gen(function*() {
      const server = played()
      server.takes = 300
      const watching = yield* Watching.make(server.handle)
      yield* TestClock.adjust("1 minute")
      assert.strictEqual(server.looks(), 0)
      const scope = yield* Scope.make()
      yield* Scope.provide(page(watching), scope)
      yield* TestClock.adjust("32 seconds")
      assert.strictEqual(server.looks(), 10)
      yield* Scope.close(scope, Exit.void)
      yield* TestClock.adjust("1 minute")
      assert.isAtMost(server.looks(), 11)
    }))

  it.effect("are dropped where they do not read, and the others are not", () =>
    Effect.gen(function*() {
      const server = played()
      const watching = yield* Watching.make(server.handle)
      const deaf = yield* page(watching, "", false)
      const other = yield* page(watching)
      for (let i = 0; i < 12; i++) {
        server.names = [listed(`n${i}`)]
        yield* TestClock.adjust("500 millis")
      }
      assert.isTrue(deaf.isDropped())
      assert.isFalse(other.isDropped())
      assert.strictEqual(other.names().at(-1)!.rows[0]!.name, "n11")
    }))

  it.effect("are told a part of a long list only once they have taken the one before", () =>
    Effect.gen(function*() {
      const server = played()
      server.names = Array.from({ length: 2000 }, (_, i) => listed(`n/${i}`))
      const watching = yield* Watching.make(server.handle)
      const stream = yield* watching.watch("", () => assert.fail("dropped"))
      const latch = yield* Latch.make(false)
      const told: Array<ReturnType<typeof parse>> = []
      yield* Effect.forkScoped(Stream.runForEach(stream, (text) =>
        Effect.andThen(
          latch.await,
          Effect.sync(() => {
            told.push(parse(text))
            latch.closeUnsafe()
          })
        )))
      yield* TestClock.adjust("10 millis")
      // While it has one, all others become other ones: of those it is told as they are when it takes them.
      server.names = Array.from({ length: 2000 }, (_, i) => listed(`n/${i}`, { Waiting: "1" }))
      yield* TestClock.adjust("500 millis")
      for (let taken = 0; taken < 40; taken++) {
        latch.openUnsafe()
        yield* TestClock.adjust("10 millis")
      }
      const names = told.filter(({ name }) => name === "names").map(({ told }) => told as NamesTold)
      assert.isAbove(names.length, 5)
      assert.deepStrictEqual(names.flatMap(({ rows }) => rows).map(({ waiting }) => waiting), Array(2000).fill(1))
    }))

  it.effect("are told so much of all names together, whatever names these are, and that there is more", () =>
    Effect.gen(function*() {
      const server = played()
      const long = "é".repeat(250)
      server.names = Array.from(
        { length: 20_000 },
        (_, i) => listed(`${i % 2}${String(i).padStart(5, "0")}${long}`, { Label: "\u0002".repeat(250) })
      )
      const watching = yield* Watching.make(server.handle)
      const sizeOf = (told: ReadonlyArray<NamesTold>) => {
        const rows = new Map<string, Row>()
        for (const part of told) Rows.take(rows, part)
        let size = 0
        for (const { label, name } of rows.values()) size += name.length + label!.length
        return size
      }
      const alone = yield* page(watching, "0")
      yield* TestClock.adjust("2 seconds")
      assert.isTrue(alone.names().at(-1)!.isCut)
      assert.approximately(sizeOf(alone.names()), 3_300_000, 300_000)
      const other = yield* page(watching, "1")
      yield* TestClock.adjust("2 seconds")
      assert.isTrue(other.names().at(-1)!.isCut)
      assert.isAtMost(sizeOf(alone.names()) + sizeOf(other.names()), 4 * 1024 * 1024)
      assert.approximately(sizeOf(alone.names()), sizeOf(other.names()), 1000)
      // What one does not need another may have.
      const few = yield* page(watching, "000000")
      yield* TestClock.adjust("2 seconds")
      assert.deepStrictEqual([few.names()[0]!.rows.length, few.names()[0]!.isCut], [1, false])
      assert.approximately(sizeOf(alone.names()), sizeOf(other.names()), 2000)
      assert.approximately(sizeOf(alone.names()) + sizeOf(other.names()), 3_300_000, 300_000)
    }))

  it.effect("have so many places, which are free again", () =>
    Effect.gen(function*() {
      const watching = yield* Watching.make(played().handle)
      const scope = yield* Scope.make()
      const places = yield* Effect.all(
        Array.from({ length: Watching.maxStreams + 1 }, () => Scope.provide(watching.place, scope))
      )
      assert.deepStrictEqual(places.filter((isThere) => !isThere).length, 1)
      yield* Scope.close(scope, Exit.void)
      assert.isTrue(yield* watching.place)
    }))

  it.effect("are told what a server or a store cannot do, and when it can again", () =>
    Effect.gen(function*() {
      const server = played()
      server.list = { Status: "BadAction" }
      const watching = yield* Watching.make(server.handle)
      const one = yield* page(watching)
      yield* TestClock.adjust("10 millis")
      assert.match(
        JSON.stringify(one.problems()),
        /^\[\{"problem":"This server, or its store, cannot tell which names are held\."\}\]$/
      )
      server.list = { Status: "NO" }
      yield* TestClock.adjust("500 millis")
      server.list = undefined
      yield* TestClock.adjust("500 millis")
      assert.match(JSON.stringify(one.problems()[1]), /store does not answer now/)
      assert.deepStrictEqual(one.problems().slice(2), [{}])
    }))

  it.effect("of a prefix are told its names", () =>
    Effect.gen(function*() {
      const server = played()
      server.names = [listed("a/1"), listed("b/1")]
      const watching = yield* Watching.make(server.handle)
      const one = yield* page(watching, "b/")
      yield* TestClock.adjust("10 millis")
      assert.deepStrictEqual(one.names()[0]!.rows.map(({ name }) => name), ["b/1"])
    }))

  it.effect("are told what was taken and ended in each second, and that there is no history where there is none", () =>
    Effect.gen(function*() {
      const server = played()
      const at = (Event: Protocol.EventKind, number: number, Millis = "0"): Protocol.LoggedEvent => ({
        Number: String(number),
        At: "0",
        Event,
        FileName: "a",
        Millis
      })
      server.events = [at("Taken", 1, "40"), at("Released", 2), at("Taken", 3, "700"), at("Expired", 4)]
      const watching = yield* Watching.make(server.handle)
      const one = yield* page(watching)
      yield* TestClock.adjust("10 millis")
      yield* TestClock.adjust("100 millis")
      assert.deepInclude(one.rates().at(-1), { isKnown: true })
      assert.deepInclude(one.rates().at(-1)!.points[0], { second: 0, taken: 2, ended: 2, longestWait: 700, waiting: 0 })
      const unknowing = yield* Watching.make((request) =>
        Effect.succeed(
          request.Action === "List" ? { Status: "Listed", Names: [] } : { Status: "BadAction" }
        )
      )
      const other = yield* page(unknowing)
      yield* TestClock.adjust("600 millis")
      assert.deepInclude(other.rates().at(-1), { isKnown: false })
    }))
})

describe("what of the names has changed", () => {
  const found = (names: ReadonlyArray<Listed>, now = 1000, isCut = false) => ({
    rows: new Map(names.map((one) => [one.FileName, rowOf(one, now)])),
    isCut
  })
  /** One who is told all there is, a part at a time. */
  const reader = (known: Known) => {
    let place = beginning
    const next = () => {
      const part = known.next(place, 0)
      place = part.place
      return parse(part.text).told as NamesTold
    }
    return {
      next,
      hasNews: () => known.hasNews(place),
      all: () => {
        const parts: Array<NamesTold> = []
        while (known.hasNews(place)) parts.push(next())
        return parts
      }
    }
  }
  /** What a page shows that was told this. */
  const shownBy = (parts: ReadonlyArray<NamesTold>) => {
    const rows = new Map<string, Row>()
    for (const part of parts) Rows.take(rows, part)
    return Array.from(rows.values(), ({ name, waiting }) => `${name} ${waiting}`).toSorted()
  }
  const numbered = (from: number, to: number, fields: Partial<Listed> = {}) =>
    Array.from({ length: to - from }, (_, i) => listed(`name/${from + i}`, fields))

  it("is nothing where only time has passed, and something where a lease was renewed", () => {
    const known = new Known()
    const one = reader(known)
    known.take(found([listed("a")]), 1e6)
    assert.strictEqual(one.all().length, 1)
    known.take(found([listed("a", { ExpiresIn: "28000" })], 3000), 1e6)
    assert.isFalse(one.hasNews())
    known.take(found([listed("a")], 3000), 1e6)
    assert.strictEqual(one.next().rows[0]!.endsAt, 33_000)
  })
  it("is told once an end that drifts has drifted far", () => {
    const known = new Known()
    const one = reader(known)
    known.take(found([listed("a")]), 1e6)
    one.all()
    let told = 0
    for (let look = 1; look <= 10; look++) {
      known.take(found([listed("a")], 1000 + look * 100), 1e6)
      told += one.all().length
    }
    assert.strictEqual(told, 2)
  })
  it("says who holds it, why it was revoked, and nothing that is not there", () => {
    const known = new Known()
    known.take(found([listed("a", { Label: "me", Revoked: "why", Limit: "3" })]), 1e6)
    const [row] = reader(known).next().rows
    assert.deepStrictEqual(row, {
      name: "a",
      held: 1,
      waiting: 0,
      limit: "3",
      label: "me",
      since: 0,
      endsAt: 31_000,
      fence: "1",
      revoked: "why"
    })
  })
  it("is told that nothing is held, and that there is more than is told, though no name has changed", () => {
    const known = new Known()
    const one = reader(known)
    assert.isFalse(one.hasNews())
    known.take(found([]), 1e6)
    assert.deepStrictEqual(one.all().map(({ isCut, isWhole, rows }) => [isWhole, rows.length, isCut]), [[
      true,
      0,
      false
    ]])
    known.take(found([], 1000, true), 1e6)
    assert.deepStrictEqual(one.all().map(({ isCut, isWhole, rows }) => [isWhole, rows.length, isCut]), [[
      false,
      0,
      true
    ]])
    assert.isFalse(one.hasNews())
  })
  it("is told a part at a time, of a bounded length, and with what has changed meanwhile", () => {
    const known = new Known()
    const one = reader(known)
    known.take(found(numbered(0, 2000)), 1e6)
    const parts = [one.next(), one.next(), one.next()]
    assert.deepStrictEqual(parts.map(({ isWhole }) => isWhole), [true, false, false])
    // Of those that it was told, of those that it was not, and new ones.
    const later = [
      ...numbered(10, 20, { Waiting: "1" }),
      ...numbered(20, 1900),
      ...numbered(1900, 1990, { Waiting: "2" }),
      ...numbered(2000, 2100)
    ]
    known.take(found(later), 1e6)
    parts.push(...one.all())
    assert.strictEqual(parts.filter(({ isWhole }) => isWhole).length, 1)
    assert.isAtMost(Math.max(...parts.map(({ gone, rows }) => rows.length + gone.length)), 256)
    const told = parts.flatMap(({ rows }) => rows).length
    assert.strictEqual(told, 2000 - 10 - 90 + 10 + 90 + 100)
    assert.deepStrictEqual(shownBy(parts), later.map(({ FileName, Waiting }) => `${FileName} ${Waiting}`).toSorted())
    const late = reader(known)
    assert.deepStrictEqual(shownBy(late.all()), shownBy(parts))
  })
  it("is told anew to one that was not told of names that are held no more, and to no other", () => {
    const known = new Known()
    const [slow, prompt] = [reader(known), reader(known)]
    known.take(found(numbered(0, 1000)), 10_000)
    const [slowParts, promptParts] = [[slow.next()], prompt.all()]
    for (let from = 10; from <= 500; from += 10) {
      known.take(found(numbered(from, from + 1000)), 10_000)
      promptParts.push(...prompt.all())
    }
    assert.strictEqual(promptParts.filter(({ isWhole }) => isWhole).length, 1)
    slowParts.push(...slow.all())
    assert.deepStrictEqual(slowParts.map(({ isWhole }) => isWhole).slice(0, 3), [true, true, false])
    for (const parts of [slowParts, promptParts]) {
      assert.deepStrictEqual(shownBy(parts), numbered(500, 1500).map(({ FileName }) => `${FileName} 0`).toSorted())
    }
    // Who comes later is told no name that is held no more, but for the few that are kept.
    assert.isAtMost(reader(known).all().flatMap(({ gone }) => gone).length, 10_000 / 128)
  })
  it("is not told of what another was told there before", () => {
    const known = new Known()
    known.take(found([listed("a")]), 1e6)
    assert.deepStrictEqual(shownBy(reader(known).all()), ["a 0"])
    known.take(found([]), 0)
    assert.deepStrictEqual(shownBy(reader(known).all()), [])
  })
  it("is one text for all that are there", () => {
    const known = new Known()
    known.take(found(numbered(0, 500)), 1e6)
    const [one, other] = [known.next(beginning, 1), known.next(beginning, 2)]
    assert.deepStrictEqual(one, other)
  })
})

describe("rates", () => {
  it("count for events that the history has no place for by those that it has", () => {
    const rates = new Rates()
    const event = (number: number, Event: Protocol.EventKind) => ({
      Number: String(number),
      At: "5000",
      Event,
      FileName: "a"
    })
    rates.takeEvents([event(1, "Taken"), event(2, "Released")])
    rates.takeEvents([event(11, "Taken"), event(12, "Released")])
    assert.deepInclude(rates.news(6000)[0], { second: 5, taken: 6, ended: 6 })
    assert.deepStrictEqual(rates.news(6000), [])
    assert.strictEqual(rates.all().length, 1)
    rates.takeWaiting(3, 200_000)
    rates.news(200_000)
    assert.deepStrictEqual(rates.all().map(({ second }) => second), [200])
  })
})

describe("a page of one name", () => {
  it.effect("is told how many hold it, and of these the first hundred", () =>
    Effect.gen(function*() {
      const { told } = yield* Asking.describe(() =>
        Effect.succeed({
          Status: "Described",
          Holders: Array.from({ length: 1000 }, (_, i) => ({ Label: `holder ${i}` })),
          Waiting: "0",
          Waiters: [],
          Revision: "1"
        }), "a")
      assert.deepStrictEqual([told.held, told.holders.length, told.holders[99]!.label], [1000, 100, "holder 99"])
    }))

  it.effect("is told its states, its renewals, and what happens to it alone", () =>
    Effect.gen(function*() {
      const event = (number: number, FileName: string): Protocol.LoggedEvent => ({
        Number: String(number),
        At: "7",
        Event: "Taken",
        FileName
      })
      let revision = 1
      const handle = (request: Protocol.Request): Effect.Effect<Protocol.Response> => {
        if (request.Action === "Log") {
          const after = Number(request.After ?? 0)
          const Events = [event(1, "a"), event(2, "ab"), event(3, "a")].filter(({ Number: number }) =>
            Number(number) > after
          )
          const answer: Protocol.Response = { Status: "Logged", Events, After: Events.length > 0 ? "3" : String(after) }
          return Effect.as(Effect.sleep(request.Wait ?? 0), answer)
        }
        const answer: Protocol.Response = {
          Status: "Described",
          Holders: [{ Label: "me", ExpiresIn: "9000" }],
          Waiting: "0",
          Waiters: [],
          Revision: String(revision)
        }
        return Effect.as(Effect.sleep(request.Wait ?? 0), answer)
      }
      const told: Array<ReturnType<typeof parse>> = []
      const running = yield* Effect.forkChild(
        Stream.runForEach(OneName.watch(handle, "a"), (text) => Effect.sync(() => told.push(parse(text))))
      )
      yield* TestClock.adjust("10 millis")
      const events = told.filter(({ name }) => name === "events").map(({ told }) => told as Told["events"])
      assert.deepStrictEqual(events.map(({ events }) => events.map(({ number }) => number)), [["1", "3"]])
      const states = () => told.filter(({ name }) => name === "name").map(({ told }) => told as Told["name"])
      assert.strictEqual(states().length, 1)
      // It is renewed all the time here, which makes no other revision.
      yield* TestClock.adjust("1300 millis")
      assert.strictEqual(states().length, 2)
      revision = 2
      yield* TestClock.adjust("1300 millis")
      assert.strictEqual(states().length, 3)
      yield* Fiber.interrupt(running)
    }))
})
