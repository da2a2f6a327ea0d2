/**
 * What the package promises by its package.json agrees with what it is.
 */
import { assert, describe, it } from "@effect/vitest"
import { execFileSync } from "node:child_process"
import * as fs from "node:fs"
import * as path from "node:path"
import { version } from "../../../src/cli/clientVersion.ts"

const project = path.join(import.meta.dirname, "..", "..", "..")
const read = (file: string) => fs.readFileSync(path.join(project, file), "utf8")

interface PackageJson {
  readonly version: string
  readonly engines: { readonly node: string }
  readonly files: ReadonlyArray<string>
  readonly bin: Record<string, string>
  readonly exports: Record<string, string | { readonly types: string; readonly default: string }>
  readonly peerDependencies: Record<string, string>
}
const manifest = JSON.parse(read("package.json")) as PackageJson

const sources = fs.globSync("src/**/*.ts", { cwd: project })
const importsOf = (file: string): ReadonlyArray<string> =>
  Array.from(
    read(file).matchAll(/^(?:import|export)\s(?:[\w\s{},*$]*?\sfrom\s)?"([^"]+)"/gm),
    ([, specifier]) => specifier!
  )

describe("package.json", () => {
  it("the command knows the version", () => assert.strictEqual(version, manifest.version))

  it("each export and the command have a source", () => {
    const targets = Object.entries(manifest.exports).flatMap(([subpath, target]) =>
      typeof target === "string" ? [] : [{ subpath, target }]
    )
    assert.isAbove(targets.length, 0)
    for (const { subpath, target } of targets) {
      const base = target.default.replace(/\.js$/, "")
      assert.strictEqual(target.types, `${base}.d.ts`, subpath)
      assert.isTrue(fs.existsSync(path.join(project, base.replace(/^\.\/dist/, "src") + ".ts")), subpath)
    }
    for (const target of Object.values(manifest.bin)) {
      const source = read(target.replace(/^dist/, "src").replace(/\.js$/, ".ts"))
      assert.isTrue(source.startsWith("#!/usr/bin/env node\n"), target)
    }
  })

  it("holds what users need, and nothing else", () => {
    const packed = execFileSync("npm", ["pack", "--dry-run", "--json", "--ignore-scripts"], {
      cwd: project,
      encoding: "utf8"
    })
    const [{ files }] = JSON.parse(packed) as [{ readonly files: ReadonlyArray<{ readonly path: string }> }]
    const rest = files.map(({ path }) => path).filter((file) => !/^(?:dist|src)\//.test(file))
    const pages = fs.globSync("docs/*.{md,svg,webp}", { cwd: project }).filter((page) => page !== "docs/api-report.md")
    const documents = ["CHANGELOG.md", "CONTRIBUTING.md", "LICENSE", "README.md", "SECURITY.md", "package.json"]
    // What the pages lead to.
    const whole = fs.globSync(["deploy/*", "examples/*/*"], { cwd: project })
    assert.deepStrictEqual(rest.toSorted(), [...documents, ...pages, ...whole].toSorted())
    const built = files.map(({ path }) => path).filter((file) => /^(?:dist|src)\//.test(file))
    assert.deepStrictEqual(built.filter((file) => !/^(?:src\/.*\.ts|dist\/.*\.(?:js|d\.ts)(?:\.map)?)$/.test(file)), [])
    for (const source of sources) assert.include(built, source)
  })

  it("the documents that it ships exist", () => {
    const documents = manifest.files.filter((file) => /^[A-Z]/.test(file))
    assert.isAbove(documents.length, 0)
    for (const file of documents) assert.isTrue(fs.existsSync(path.join(project, file)), file)
  })

  it("the README names the Node that it needs, and the changelog the version", () => {
    const [, node] = /^>=(\d+\.\d+)\.0$/.exec(manifest.engines.node)!
    assert.include(read("README.md"), `Node ${node} or later`)
    assert.include(read("CHANGELOG.md"), `## [${manifest.version}]`)
  })

  it("nothing is imported that a user would not have", () => {
    const peers = Object.keys(manifest.peerDependencies)
    for (const file of sources) {
      for (const specifier of importsOf(file)) {
        if (specifier.startsWith(".") || specifier.startsWith("node:")) continue
        assert.isTrue(
          peers.some((peer) => specifier === peer || specifier.startsWith(`${peer}/`)),
          `${file}: ${specifier}`
        )
      }
    }
  })
})

describe("a platform is known to few", () => {
  // The core runs wherever Effect does.
  it("only src/node, the stores beyond memory and the command import Node", () => {
    assert.isAbove(sources.length, 0)
    for (const file of sources) {
      if (/^src\/(?:node|cli|sqlite|redis|postgres|etcd)\/|^src\/bin\.ts$/.test(file)) continue
      const platform = importsOf(file).filter((specifier) =>
        specifier.startsWith("node:") || specifier.startsWith("@effect/platform")
      )
      assert.deepStrictEqual(platform, [], file)
    }
  })

  it("no entry of the core reaches Node", () => {
    const reached = (file: string, seen = new Set<string>()): Set<string> => {
      if (seen.has(file)) return seen
      seen.add(file)
      for (const specifier of importsOf(file)) {
        if (specifier.startsWith(".")) reached(path.posix.join(path.posix.dirname(file), specifier), seen)
      }
      return seen
    }
    for (const entry of ["src/index.ts", "src/server/index.ts", "src/testing/index.ts"]) {
      const files = [...reached(entry)]
      assert.isAbove(files.length, 1, entry)
      assert.deepStrictEqual(
        files.filter((file) => /^src\/(?:node|cli|sqlite|redis|postgres|etcd)\//.test(file)),
        [],
        entry
      )
    }
  })
})
