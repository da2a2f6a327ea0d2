/**
 * The pictures of docs/ that `npm run pictures` draws, and the runs that two of them show.
 */
import { assert, describe, it } from "@effect/vitest"
import * as fs from "node:fs"
import * as path from "node:path"
import { folder, pictures } from "../../.ci/pictures.ts"
import { fencedWrites, lifeOfALease } from "../../.ci/pictures/simulated.ts"
import { width } from "../../.ci/pictures/svg.ts"

/** The start of each element, and the end of each that has one. */
const tag = /<(\/?)([a-z]+)((?: [\w:-]+="[^"<]*")*)(\/?)>/g

/** Elements that are not closed, in the order of their beginning; fails where another is closed. */
const openIn = (svg: string): ReadonlyArray<string> => {
  const open: Array<string> = []
  for (const [, closes, name, , isEmpty] of svg.matchAll(tag)) {
    if (closes === "/") assert.strictEqual(open.pop(), name)
    else if (isEmpty !== "/") open.push(name!)
  }
  return open
}

/** How far each text reaches, by a wide font: from where, to where. */
const reaches = (svg: string) =>
  Array.from(
    svg.matchAll(/<text class="(\w+)" x="([\d.]+)" y="[\d.]+"([^>]*)>([^<]*)</g),
    ([, kind, at, more, text]) => {
      const wide = text!.replace(/&\w+;/g, "&").length * (kind === "name" ? 14 * 0.66 : 13 * 0.62)
      const from = Number(at) - (more!.includes("middle") ? wide / 2 : 0)
      return { text, from, to: from + wide }
    }
  )

describe.each(Object.entries(pictures))("docs/%s", (file, draw) => {
  const written = fs.readFileSync(path.join(folder, file), "utf8")

  it("is what npm run pictures draws", async () => assert.strictEqual(written, await draw()))

  it("is small, whole, says what it shows, and has colours for the night", () => {
    assert.isBelow(written.length, 20_000)
    assert.deepStrictEqual(openIn(written), [])
    assert.notMatch(written.replaceAll(tag, ""), /[<>]/)
    assert.match(written, /^<svg [^>]*role="img" aria-labelledby="title description"/)
    assert.match(written, /<title id="title">\w[^<]+<\/title>\s*<desc id="description">\w[^<]{60,}<\/desc>/)
    const [day, night] = written.slice(0, written.indexOf("</style>")).split("prefers-color-scheme: dark")
    const kindsOf = (text: string) => Array.from(text.matchAll(/\.(\w+) \{/g), ([, kind]) => kind)
    assert.deepStrictEqual(kindsOf(night!), kindsOf(day!))
    const used = new Set(Array.from(written.matchAll(/class="(\w+)"/g), ([, kind]) => kind!))
    assert.sameMembers([...used], kindsOf(day!))
  })

  it("cuts no text off", () => {
    assert.isAbove(reaches(written).length, 4)
    for (const { from, text, to } of reaches(written)) {
      assert.isAtLeast(from, 4, text)
      assert.isAtMost(to, width - 4, text)
    }
  })
})

describe("the run of docs/lease.svg", () => {
  it("shows a lease that is lost before the next is let in, and those who wait in their order", async () => {
    const { holder, holds, loss, renewals, states } = await lifeOfALease()
    assert.deepStrictEqual(states.map(({ state }) => state), ["Held", "Suspect", "Lost", "Released"])
    const [first, second] = holds
    assert.isBelow(states[2]!.at, first!.from)
    assert.isAtLeast(second!.from, first!.to)
    assert.isAbove(Number(first!.fence), Number(holder))
    assert.isAbove(Number(second!.fence), Number(first!.fence))
    // The server keeps it for its time to live, from the last request that reached it.
    const last = renewals.findLast(({ isAnswered }) => isAnswered)!
    assert.strictEqual(first!.from, last.at + 30)
    assert.strictEqual(loss, "LeaseLost")
  })
})

describe("the run of docs/fence.svg", () => {
  it("shows a write that is refused, of a tenure that is over, and no other", async () => {
    const { loss, next, writes } = await fencedWrites()
    assert.deepStrictEqual(writes.map(({ isTaken, who }) => [who, isTaken]), [
      ["paused", true],
      ["next", true],
      ["next", true],
      ["paused", false]
    ])
    assert.isBelow(Number(writes[0]!.fence), Number(next.fence))
    assert.strictEqual(loss, "LeaseLost")
  })
})
