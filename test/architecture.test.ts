/**
 * The rooms of src, and the only ways between them.
 */
import { assert, describe, it } from "@effect/vitest"
import * as fs from "node:fs"
import * as path from "node:path"

/** What each room may import by its own right; it may also import what those may. */
const rooms: Readonly<Record<string, ReadonlyArray<string>>> = {
  lib: [],
  protocol: ["lib"],
  DlmError: ["protocol"],
  StoreError: ["protocol"],
  transport: ["protocol", "lib", "DlmError"],
  client: ["transport"],
  store: ["protocol", "lib", "StoreError"],
  server: ["store", "transport"],
  sqlite: ["store"],
  redis: ["store"],
  postgres: ["store"],
  etcd: ["store"],
  node: ["transport", "server", "sqlite", "redis", "postgres", "etcd"],
  fence: ["client"],
  testing: ["client", "server"],
  promise: ["client", "node"],
  cli: ["client", "node", "server"],
  // The entry of the package, and the command's.
  index: ["client"],
  bin: ["cli"]
}

/** Files of src that can each be reached from each other. This list only gets shorter. */
const circles: ReadonlyArray<string> = []

const src = path.join(import.meta.dirname, "..", "src")
const files = fs.globSync("**/*.ts", { cwd: src }).toSorted()
const roomOf = (file: string) => file.split(path.sep)[0]!.replace(/\.ts$/, "")

/** The files of ours that each file imports, be it a type or on demand. */
const imports = new Map(files.map((file) => {
  const text = fs.readFileSync(path.join(src, file), "utf8")
  const found = text.matchAll(/(?:^import |^(?:import|export)\b[^"'`;]*? from |\bimport\()"(\.[^"]*)"/gm)
  return [file, Array.from(found, ([, to]) => path.join(path.dirname(file), to!))]
}))

/** All that can be reached from somewhere; that too only by a circle. */
const reach = <A>(from: A, next: (at: A) => ReadonlyArray<A>, seen = new Set<A>()): ReadonlySet<A> => {
  for (const to of next(from)) if (!seen.has(to)) reach(to, next, seen.add(to))
  return seen
}
const mayReach = (room: string) => reach(room, (at) => rooms[at] ?? [])

describe("the rooms of src", () => {
  it("are those of the table, which has no circle", () => {
    assert.deepStrictEqual(files.filter((file) => rooms[roomOf(file)] === undefined), [])
    assert.deepStrictEqual(Object.keys(rooms).filter((room) => mayReach(room).has(room)), [])
  })
  it("never lead from client to server, nor back, nor from transport or store to server", () => {
    for (const room of ["client", "transport", "store"]) assert.isFalse(mayReach(room).has("server"), room)
    assert.isFalse(mayReach("server").has("client"))
  })
  it("import only what the table allows", () => {
    const wrong = files.flatMap((file) =>
      imports.get(file)!.filter((to) => roomOf(to) !== roomOf(file) && !mayReach(roomOf(file)).has(roomOf(to)))
        .map((to) => `${file} imports ${to}`)
    )
    assert.deepStrictEqual(wrong, [])
  })
  it("have no circle of files but those that are still to be removed", () => {
    const after = new Map(files.map((file) => [file, reach(file, (at) => imports.get(at) ?? [])]))
    const round = files.filter((file) => after.get(file)!.has(file))
    const found = round.map((file) => round.filter((to) => after.get(file)!.has(to) && after.get(to)!.has(file)))
    assert.deepStrictEqual([...new Set(found.map((circle) => circle.join(" ")))], circles)
  })
})
