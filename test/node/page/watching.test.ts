/**
 * How the pages that watch are told what they show: by one look for all, seldom enough, and changes only.
 */
import { assert, describe, it } from "@effect/vitest"
import { Effect, Exit, Fiber, Scope, Stream } from "effect"
import type { Protocol } from "effect-dlm/protocol"
import { TestClock } from "effect/testing"
import type { NamesTold, RatesTold, Told } from "../../../src/node/page/browser/Told.ts"
import { changes, rowOf, whole } from "../../../src/node/page/Names.ts"
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
  const found = (...names: ReadonlyArray<Listed>) => ({
    rows: new Map(names.map((one) => [one.FileName, rowOf(one, 1000)])),
    isCut: false
  })
  it("is nothing where only time has passed, and something where a lease was renewed", () => {
    const before = found(listed("a"))
    const later = { rows: new Map([["a", rowOf(listed("a", { ExpiresIn: "28000" }), 3000)]]), isCut: false }
    assert.isUndefined(changes(before, later, 3000).told)
    const renewed = { rows: new Map([["a", rowOf(listed("a"), 3000)]]), isCut: false }
    assert.strictEqual(changes(before, renewed, 3000).told!.rows[0]!.endsAt, 33_000)
  })
  it("is told once an end that drifts has drifted far", () => {
    let known = found(listed("a"))
    let told = 0
    for (let look = 1; look <= 10; look++) {
      const next = { rows: new Map([["a", rowOf(listed("a"), 1000 + look * 100)]]), isCut: false }
      const { found, told: change } = changes(known, next, 0)
      known = { ...found, rows: new Map(found.rows) }
      if (change !== undefined) told++
    }
    assert.strictEqual(told, 2)
  })
  it("says who holds it, why it was revoked, and nothing that is not there", () => {
    const [row] = whole(found(listed("a", { Label: "me", Revoked: "why", Limit: "3" })), 0).rows
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
