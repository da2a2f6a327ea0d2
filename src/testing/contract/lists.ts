/**
 * The laws of a store that tells which names it has.
 */
import * as Effect from "effect/Effect"
import type { List } from "../../store/Store.ts"
import { admit, admitted, release } from "./holders.ts"
import { entryOf, expect, type Instance, law, long, remove, type Rule, texts, Violation, write } from "./Rule.ts"

/** Much more than any list here has. */
const maxPages = 20_000

/** Pages of so many names, each after the one before, until the last; `between` runs after each. */
const pagesOf = Effect.fnUntraced(function*(
  list: List,
  prefix: string,
  count: number,
  between: Effect.Effect<unknown, unknown> = Effect.void
) {
  const names: Array<string> = []
  let after: string | undefined
  for (let pages = 0; pages < maxPages; pages++) {
    const page = yield* list(prefix, after, count)
    if (page === undefined) return yield* new Violation({ problem: `a page did not go on after ${show(after)}` })
    yield* expect(page.names.length <= count, `a page of ${count} had ${page.names.length} names`)
    yield* expect(
      new Set(page.names).size === page.names.length,
      `a name was twice in a page of ${count}: ${show(page.names)}`
    )
    yield* expect((page.after?.length ?? 0) <= 1000, `a page goes on after ${page.after?.length} characters`)
    names.push(...page.names)
    after = page.after
    if (after === undefined) return names
    yield* between
  }
  return yield* new Violation({ problem: `a list of ${show(prefix)} did not end within ${maxPages} pages` })
})

const show = (value: unknown): string => {
  const text = JSON.stringify(value) ?? "nothing"
  return text.length > 200 ? `${text.slice(0, 200)}… (${text.length} characters)` : text
}

/** Fails unless these names are there, all of them, and no other but those of `free`. */
const expectNames = Effect.fnUntraced(function*(
  list: List,
  prefix: string,
  count: number,
  held: ReadonlyArray<string>,
  free: ReadonlySet<string> = new Set()
) {
  const names = yield* pagesOf(list, prefix, count)
  const [found, wanted] = [new Set(names), new Set(held)]
  const missing = held.filter((name) => !found.has(name))
  yield* expect(missing.length === 0, `of ${show(prefix)}, by ${count}, were not told ${show(missing)}`)
  const wrong = names.filter((name) => !wanted.has(name) && !free.has(name))
  yield* expect(wrong.length === 0, `of ${show(prefix)}, by ${count}, were told ${show(wrong)}`)
})

/** A law of a store that has a list. */
const listLaw = (
  name: string,
  check: (
    store: Instance,
    list: List,
    ...rest: Parameters<Rule["check"]> extends [unknown, ...infer R] ? R : never
  ) => ReturnType<Rule["check"]>
): Rule =>
  law(name, (store, fresh, given) => store.list === undefined ? Effect.void : check(store, store.list, fresh, given))

const takeAll = (store: Instance, names: ReadonlyArray<string>, ttlMillis = long) =>
  Effect.forEach(names, (name) => write(store, name, entryOf(`owner of ${name}`.slice(0, 20)), ttlMillis), {
    concurrency: 16,
    discard: true
  })

const freeAll = (store: Instance, names: ReadonlyArray<string>) =>
  Effect.forEach(names, (name) => remove(store, name), { concurrency: 16, discard: true })

/** What a store may take for something else than a part of a name. */
const parts = [
  ...texts.filter((text) => text.length < 100),
  "%",
  "_",
  "%_",
  "*",
  "?",
  "[",
  "]",
  "[a-z]",
  "[^a]",
  "\\",
  "\\\\",
  "\\*",
  "\"",
  "'",
  "''",
  "'; --",
  "\\\"",
  "\\u0000",
  "\\ud800",
  "/",
  "a",
  "A",
  "ab",
  "é",
  "e\u0301",
  "ß",
  "ﬃ",
  "\u007f",
  "\uffff",
  "\u{10ffff}",
  "🔑",
  "\ud83d",
  "\udd11",
  "\ud83d\ud83d",
  "=",
  ":",
  ">",
  "+"
]

const beginning = (names: ReadonlyArray<string>, prefix: string) => names.filter((name) => name.startsWith(prefix))

/** What is in a list. */
const contentLaws: ReadonlyArray<Rule> = [
  listLaw(
    "a list has each name that is held, whatever the size of its pages",
    (store, list, name) =>
      Effect.gen(function*() {
        const names = Array.from({ length: 40 }, (_, i) => `${name}/${i % 5}/${i}`)
        yield* expectNames(list, name, 7, [])
        yield* takeAll(store, names)
        for (const count of [1, 2, 7, 40, 1000]) {
          yield* expectNames(list, name, count, names)
          yield* expectNames(list, `${name}/3`, count, beginning(names, `${name}/3`))
        }
        yield* expectNames(list, `${name}/5`, 7, [])
        yield* freeAll(store, names)
      })
  ),

  listLaw("a prefix stands for itself, whatever is in it", (store, list, name) =>
    Effect.gen(function*() {
      const names = [...new Set(parts.flatMap((part) => [`${name}${part}`, `${name}${part}b`, `${name}a${part}`]))]
      yield* takeAll(store, names)
      const prefixes = new Set(names.flatMap((one) => [one, one.slice(0, -1)]))
      for (const prefix of prefixes) {
        if (prefix.startsWith(name)) yield* expectNames(list, prefix, 1000, beginning(names, prefix))
      }
      for (const count of [1, 7]) yield* expectNames(list, name, count, names)
      yield* freeAll(store, names)
    })),

  listLaw(
    "a list of the empty prefix has every name, also the empty one",
    (store, list, name) =>
      Effect.gen(function*() {
        const names = ["", ...["", "\ud800", "\"", "\\"].map((part) => `${part}${name}`)]
        yield* takeAll(store, names)
        for (const count of [7, 1000]) {
          // Others may use the same store.
          const all = new Set(yield* pagesOf(list, "", count))
          const missing = names.filter((one) => !all.has(one))
          yield* expect(missing.length === 0, `of all names, by ${count}, were not told ${show(missing)}`)
        }
        yield* freeAll(store, names)
      })
  ),

  listLaw(
    "a list has no name that was freed, or has expired",
    (store, list, name, { outlive, ttl }) =>
      Effect.gen(function*() {
        const [held, freed, brief] = ["held", "freed", "brief"].map((kind) =>
          Array.from({ length: 12 }, (_, i) => `${name}.${i}.${kind}`)
        ) as [Array<string>, Array<string>, Array<string>]
        yield* takeAll(store, [...held, ...freed])
        yield* takeAll(store, brief, ttl)
        yield* freeAll(store, freed)
        yield* outlive
        for (const count of [1, 5, 1000]) yield* expectNames(list, name, count, held)
        yield* freeAll(store, held)
        yield* expectNames(list, name, 5, [])
      })
  ),

  listLaw("a list has a name that several hold, once", (store, list, name, { outlive, ttl }) =>
    Effect.gen(function*() {
      const names = [name, `${name}!`, `${name}a`, `${name}b`]
      yield* takeAll(store, [names[1]!])
      for (const one of [names[0]!, names[2]!, names[3]!]) {
        for (let i = 0; i < 9; i++) yield* admit(store, one, admitted(`owner ${i}`, i < 8 ? {} : { endsIn: ttl }))
      }
      for (const count of [1, 2, 7, 1000]) {
        yield* expectNames(list, name, count, names)
        const told = yield* pagesOf(list, name, count)
        yield* expect(told.length === names.length, `of ${names.length} names, by ${count}, ${told.length} were told`)
      }
      for (let i = 0; i < 8; i++) yield* release(store, names[2]!, `owner ${i}`)
      yield* outlive
      yield* expectNames(list, name, 2, names.toSpliced(2, 1))
      yield* freeAll(store, names)
    }))
]

/** What others do meanwhile, or ask for. */
const pageLaws: ReadonlyArray<Rule> = [
  listLaw(
    "a list has each name that is held all the while, whatever others take and free",
    (store, list, name) =>
      Effect.gen(function*() {
        const held = Array.from({ length: 300 }, (_, i) => `${name}.${i}`)
        const others = Array.from({ length: 300 }, (_, i) => `${name}.${i * 7}.other`)
        yield* takeAll(store, held)
        const may = new Set(others)
        for (const count of [7, 50, 1000]) {
          let turn = 0
          const between = Effect.suspend(() => {
            const some = others.filter((_, i) => (i + turn) % 10 === 0)
            return turn++ % 2 === 0 ? takeAll(store, some) : freeAll(store, some)
          })
          const names = new Set(yield* pagesOf(list, name, count, between))
          const missing = held.filter((one) => !names.has(one))
          yield* expect(missing.length === 0, `of ${held.length} names, by ${count}, were not told ${show(missing)}`)
          const wrong = [...names].filter((one) =>
            one.startsWith(`${name}.`) === false || !may.has(one) && !held.includes(one)
          )
          yield* expect(wrong.length === 0, `of ${show(name)}, by ${count}, were told ${show(wrong)}`)
        }
        yield* freeAll(store, [...held, ...others])
      })
  ),

  listLaw("a list that is renewed meanwhile has each of its names", (store, list, name) =>
    Effect.gen(function*() {
      const names = Array.from({ length: 40 }, (_, i) => `${name}.${i}`)
      yield* takeAll(store, names)
      const told = new Set(yield* pagesOf(list, name, 3, takeAll(store, names)))
      const missing = names.filter((one) => !told.has(one))
      yield* expect(missing.length === 0, `of names that were renewed were not told ${show(missing)}`)
      yield* freeAll(store, names)
    })),

  listLaw("a list gives nothing after what no page has said", (store, list, name) =>
    Effect.gen(function*() {
      const names = Array.from({ length: 5 }, (_, i) => `${name}.${i}`)
      yield* takeAll(store, names)
      const unknown = [...texts, name, "0", "-1", "1e9", "99999999999999999999", "nothing", "{}", "x".repeat(1000)]
      for (const after of unknown) {
        const page = yield* list(name, after, 7)
        yield* expect(page === undefined, `after ${show(after)} there was ${show(page)}`)
      }
      yield* expectNames(list, name, 2, names)
      yield* freeAll(store, names)
    })),

  listLaw("many that read all lists at once stop nobody from a lock", (store, list, name) =>
    Effect.gen(function*() {
      const names = Array.from({ length: 50 }, (_, i) => `${name}.${i}`)
      yield* takeAll(store, names)
      const readers = Effect.forEach([1, 2, 3, 5, 8], (count) => expectNames(list, `${name}.`, count, names), {
        concurrency: "unbounded",
        discard: true
      })
      const locks = Effect.repeat(
        Effect.andThen(write(store, `${name} lock`, entryOf("owner")), remove(store, `${name} lock`)),
        { times: 20 }
      )
      yield* Effect.all([readers, locks], { concurrency: "unbounded" })
      yield* freeAll(store, names)
    }))
]

/** All of it. */
export const listLaws: ReadonlyArray<Rule> = [...contentLaws, ...pageLaws]
