/**
 * Packs the package as it would be published, and checks what a user gets: the
 * manifest, the types, and that it installs and runs.
 */
import { execFileSync, spawnSync } from "node:child_process"
import * as fs from "node:fs"
import * as os from "node:os"
import * as path from "node:path"
import { bad, diagnosticsOf, mistakes, othersIn, problemOf } from "../test/api/mistakes.ts"
import { ofDocComments, ofMarkdown, project, sources } from "../test/docs/blocks.ts"

const bin = path.join(project, "node_modules", ".bin")
const temporary = fs.mkdtempSync(path.join(os.tmpdir(), "effect-dlm-package-"))

const run = (what: string, cwd: string, command: string, args: ReadonlyArray<string>): string => {
  console.log(`-- ${what}`)
  try {
    return execFileSync(command, args, { cwd, encoding: "utf8", stdio: ["ignore", "pipe", "pipe"] })
  } catch (error) {
    const { stdout, stderr } = error as { readonly stdout: string; readonly stderr: string }
    console.error(`${stdout}${stderr}`)
    throw new Error(`${what} failed`, { cause: error })
  }
}

const expect = (what: string, output: string, expected: string): void => {
  if (!output.includes(expected)) throw new Error(`${what}: ${JSON.stringify(expected)} is not in:\n${output}`)
}

/** The version of a development dependency that the lock file names. */
const locked = (name: string): string => {
  const lock = JSON.parse(fs.readFileSync(path.join(project, "package-lock.json"), "utf8")) as {
    readonly packages: Record<string, { readonly version: string }>
  }
  return `${name}@${lock.packages[`node_modules/${name}`]!.version}`
}

const smoke = `
import { SocketServer } from "effect/socket"
import { Effect, Layer } from "effect"
import { Lease, Locker } from "effect-dlm"
import { EtcdStore } from "effect-dlm/etcd"
import { Fence } from "effect-dlm/fence"
import { NodeLockServer, NodeTalker } from "effect-dlm/node"
import { PostgresStore } from "effect-dlm/postgres"
import { RedisStore } from "effect-dlm/redis"
import { Identities, LockServer, Store } from "effect-dlm/server"
import { SqliteStore } from "effect-dlm/sqlite"
import { MockTalker } from "effect-dlm/testing"

const server = NodeLockServer.layer({ port: 0 }).pipe(
  Layer.provide(LockServer.layer),
  Layer.provide([Store.layerMemory, Identities.layerNone])
)
const overTcp = Effect.gen(function*() {
  const { address } = yield* SocketServer.SocketServer
  return yield* Effect.gen(function*() {
    return yield* Effect.succeed("over TCP").pipe(Lease.withLock("a"))
  }).pipe(Effect.provide(NodeTalker.layer({ port: address.port })))
}).pipe(Effect.provide(server))
const inProcess = Effect.succeed("in process").pipe(
  Lease.withLock("a"),
  Effect.provide(LockServer.layerTalker.pipe(Layer.provide(LockServer.layerMemory)))
)
const mocked = Effect.gen(function*() {
  const locker = yield* Locker.make("a")
  return yield* locker.holder
}).pipe(Effect.provide(MockTalker.layer([{ Status: "NotOwner" }])))

if (typeof Fence.sql !== "function") throw new Error("no fences")
for (const { layer } of [EtcdStore, PostgresStore, RedisStore, SqliteStore]) {
  if (typeof layer !== "function") throw new Error("no store")
}
console.log((await Effect.runPromise(Effect.all([overTcp, inProcess, mocked]))).join(", "))
`

try {
  run("npm pack", project, "npm", ["pack", "--pack-destination", temporary])
  const tarball = path.join(temporary, fs.readdirSync(temporary).find((file) => file.endsWith(".tgz"))!)
  console.log(`   ${Math.round(fs.statSync(tarball).size / 1024)} KiB`)

  run("publint", project, path.join(bin, "publint"), [tarball, "--strict"])
  run("are the types wrong", project, path.join(bin, "attw"), [tarball, "--profile", "esm-only"])

  const user = path.join(temporary, "user")
  fs.mkdirSync(user)
  fs.writeFileSync(path.join(user, "package.json"), JSON.stringify({ name: "user", private: true, type: "module" }))
  run("npm install", user, "npm", [
    "install",
    "--prefer-offline",
    "--no-audit",
    "--no-fund",
    tarball,
    locked("effect"),
    locked("@effect/platform-node"),
    locked("@effect/sql-pg"),
    locked("redis")
  ])

  expect("dlm --help", run("npx dlm --help", user, "npx", ["--no-install", "dlm", "--help"]), "SUBCOMMANDS")
  fs.writeFileSync(path.join(user, "smoke.js"), smoke)
  expect(
    "the program",
    run("a program that imports every entry", user, process.execPath, ["smoke.js"]),
    "over TCP, in process, Another"
  )

  // Against the types that are published, which lack what is marked as internal.
  const pages = ["README.md", ...fs.globSync("docs/*.md", { cwd: project })]
  const blocks = [...pages.flatMap(ofMarkdown), ...sources.flatMap(ofDocComments)]
    .filter(({ language, code }) => language === "ts" && !code.includes("@effect/vitest"))
  if (blocks.length === 0) throw new Error("there are no examples")
  for (const { name, code } of blocks) {
    fs.writeFileSync(path.join(user, `${name.replace(/[/.:]/g, "-")}.ts`), code)
  }
  const tsconfig = JSON.stringify({
    compilerOptions: {
      target: "ES2024",
      lib: ["ES2024", "DOM"],
      module: "NodeNext",
      typeRoots: [path.join(project, "node_modules", "@types")],
      types: ["node"],
      noEmit: true,
      strict: true,
      exactOptionalPropertyTypes: true
    },
    include: ["*.ts"]
  })
  fs.writeFileSync(path.join(user, "tsconfig.json"), tsconfig)
  run(`${blocks.length} examples against the published types`, user, path.join(bin, "tsc"), ["-p", user])

  console.log(`-- usage.ts, and ${mistakes.length} mistakes, against the published types`)
  const api = path.join(user, "api")
  fs.mkdirSync(api)
  fs.writeFileSync(path.join(api, "tsconfig.json"), tsconfig)
  for (const file of ["usage.ts", "bad.ts"]) fs.copyFileSync(path.join(path.dirname(bad), file), path.join(api, file))
  const { stdout } = spawnSync(path.join(bin, "tsc"), ["-p", api, "--pretty", "false"], { cwd: user, encoding: "utf8" })
  const diagnostics = diagnosticsOf(stdout)
  const problems = [...mistakes.flatMap((mistake) => problemOf(mistake, diagnostics) ?? []), ...othersIn(diagnostics)]
  if (problems.length > 0) throw new Error(problems.join("\n\n"))
} finally {
  fs.rmSync(temporary, { recursive: true, force: true })
}
