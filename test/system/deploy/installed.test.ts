/**
 * The commands of deploy/Dockerfile and deploy/dlm.service as they stand, with the package as it would be published in the
 * place of the registry's, and folders of the test in the place of theirs.
 */
import { assert, describe, it, layer } from "@effect/vitest"
import { Context, Effect, Layer, type Scope } from "effect"
import { execFileSync } from "node:child_process"
import * as fs from "node:fs"
import * as path from "node:path"
import { project } from "../../docs/blocks.ts"
import { freePort, temporaryFolder } from "../../support/programs.ts"
import { startProgram } from "../cli/processes.ts"
import { execOf, only, stagesOf, variablesOf } from "./dockerfile.ts"
import { read } from "./files.ts"

/** npm, and all that asks for a registry, on a machine that is busy. */
const slow = 300_000
/** A server that is started, and asked. */
const started = 60_000

/** The tarball of the package, made of a copy: a build here would change what other tests read. */
class Package extends Context.Service<Package, string>()("test/Package") {
  static readonly layer = Layer.effect(
    Package,
    Effect.gen(function*() {
      const folder = yield* temporaryFolder("package")
      const needed = ["src", "docs", "package.json", "tsconfig.json", "tsconfig.build.json", "README.md"]
      for (const name of needed) fs.cpSync(path.join(project, name), path.join(folder, name), { recursive: true })
      fs.symlinkSync(path.join(project, "node_modules"), path.join(folder, "node_modules"))
      execFileSync("npm", ["pack"], { cwd: folder, stdio: "pipe" })
      return path.join(folder, fs.readdirSync(folder).find((file) => file.endsWith(".tgz"))!)
    })
  )
}

const sh = (script: string, cwd: string, env: Readonly<Record<string, string>> = {}) =>
  execFileSync("/bin/sh", ["-c", script], { cwd, env: { ...process.env, ...env }, encoding: "utf8", stdio: "pipe" })

const [packages, image] = stagesOf(read("Dockerfile"))
const home = "/opt/dlm"

/** The first stage, carried out in an empty folder; and how a container of the second would start. */
class Image extends Context.Service<Image, {
  readonly folder: string
  readonly env: Readonly<Record<string, string>>
}>()("test/Image") {
  static readonly layer = Layer.effect(
    Image,
    Effect.gen(function*() {
      const folder = yield* temporaryFolder("image")
      assert.strictEqual(only(packages!, "WORKDIR"), home)
      assert.strictEqual(only(image!, "COPY"), `--from=packages ${home} ${home}`)
      const VERSION = `file:${yield* Package}`
      for (const { name, text } of packages!) if (name === "RUN") sh(text, folder, { VERSION })
      const { PATH, ...env } = variablesOf(only(image!, "ENV"))
      return { folder, env: { ...env, PATH: PATH!.replace(home, folder).replace("$PATH", process.env["PATH"]!) } }
    })
  ).pipe(Layer.provideMerge(Package.layer))
}

/** A container: the entry point with the command, or another one, and the variables of the image and of who runs it. */
const container = Effect.fnUntraced(
  function*(given: Readonly<Record<string, string>>, command?: ReadonlyArray<string>) {
    const { env: ofImage, folder } = yield* Image
    const env = { ...ofImage, ...given }
    const [program, ...args] = [...execOf(only(image!, "ENTRYPOINT")), ...(command ?? execOf(only(image!, "CMD")))]
    return yield* startProgram("/usr/bin/env", [program!, ...args], { cwd: folder, env })
  }
)

/** Whether the container of these variables would be healthy. */
const isHealthy = Effect.fnUntraced(function*(given: Readonly<Record<string, string>>) {
  const { env, folder } = yield* Image
  const [program, ...args] = execOf(only(image!, "HEALTHCHECK"))
  const check = yield* startProgram(program!, args, { cwd: folder, env: { ...env, ...given } })
  return (yield* check.ended).status === 0
}, Effect.scoped)

/** Ports of this machine that nothing listens on, for the variables. */
const ports = Effect.map(Effect.all([freePort, freePort]), ([port, http]) => ({
  DLM_PORT: String(port),
  DLM_HTTP: String(http)
}))

/** What stands in the unit under a key, each line of it. */
const valuesOf = (key: string): ReadonlyArray<string> =>
  Array.from(read("dlm.service").matchAll(new RegExp(`^${key}=(.*)$`, "gm")), ([, value]) => value!)

/** Installs the package by the command of deploy/README.md, and gives where. */
const installed: Effect.Effect<string, never, Package | Scope.Scope> = Effect.gen(function*() {
  const folder = yield* temporaryFolder("unit")
  const [, command] = /^(npm install --prefix .*)$/m.exec(read("README.md"))!
  sh(command!.replace(home, folder).replace(/ effect-dlm$/, ` ${yield* Package}`), folder)
  return folder
})

layer(Image.layer, { timeout: slow, excludeTestServices: true })((it) => {
  describe("deploy/Dockerfile", () => {
    it.effect("holds no more than the command needs", () =>
      Effect.gen(function*() {
        const { folder } = yield* Image
        const kilobytes = Number(sh("du -sk node_modules", folder).split("\t")[0])
        assert.isBelow(kilobytes, 40_000)
        assert.sameMembers(fs.readdirSync(path.join(folder, "node_modules/.bin")), ["dlm"])
      }), slow)

    it.effect("starts, answers dlm version, is healthy, and ends on its signal with 0", () =>
      Effect.gen(function*() {
        const env = { ...(yield* ports), DLM_INSECURE: "true" }
        assert.isFalse(yield* isHealthy(env))
        const server = yield* container(env)
        yield* server.prints(/^dlm: locks are kept in memory$/m)
        const asked = yield* container(env, ["version"])
        assert.match((yield* asked.ended).stdout, /\(server\), effect-dlm\//)
        assert.isTrue(yield* isHealthy(env))
        yield* server.signal(only(image!, "STOPSIGNAL") as NodeJS.Signals)
        assert.strictEqual((yield* server.ended).status, 0)
      }), started)

    it.effect(
      "lets nobody in unless it is told how to guard itself, or that it need not",
      () =>
        Effect.gen(function*() {
          const server = yield* container(yield* ports)
          const { status, stderr } = yield* server.ended
          assert.strictEqual(status, 64)
          assert.match(stderr, /lets other machines in: add --tls-cert/)
        }),
      started
    )

    for (const scheme of ["postgres", "redis"]) {
      it.effect(`has the driver of ${scheme}`, () =>
        Effect.gen(function*() {
          const { DLM_HTTP: nobody, ...env } = yield* ports
          const store = { DLM_STORE: `${scheme}://127.0.0.1:${nobody}/0`, DLM_INSECURE: "true" }
          const server = yield* container({ ...env, ...store })
          // A store that cannot be reached; a driver that is missing would be wrong use, 64.
          assert.strictEqual((yield* server.ended).status, 69)
        }), started)
    }

    it.effect.skipIf(process.getuid?.() !== 0)(
      "gives the folder of the store to the user that it runs as",
      () =>
        Effect.gen(function*() {
          const folder = path.join(yield* temporaryFolder("store"), "dlm")
          const user = only(image!, "USER")
          sh(only(image!, "RUN").replace(only(image!, "WORKDIR"), folder), "/")
          const { gid, uid } = fs.statSync(folder)
          assert.strictEqual(`${uid}:${gid}`, user)
          assert.notInclude(user.split(":"), "0")
        })
    )
  })

  layer(Package.layer, { timeout: slow, excludeTestServices: true })(
    "deploy/dlm.service, installed by the command of deploy/README.md",
    (it) => {
      it.effect(
        "starts, reads anew by its reload, ends within its time with 0, and remembers",
        () =>
          Effect.gen(function*() {
            const folder = yield* installed
            const [line] = valuesOf("ExecStart")
            const variables = valuesOf("Environment").map((pair) =>
              pair.replace("%S", folder).split(/=(.*)/s).slice(0, 2)
            )
            // Of EnvironmentFile, which beats them.
            const env = { ...Object.fromEntries(variables), ...(yield* ports) }
            fs.mkdirSync(path.join(folder, valuesOf("StateDirectory")[0]!))
            const [program, ...args] = line!.replace(home, folder).split(" ")
            const dlm = (...args: ReadonlyArray<string>) =>
              Effect.scoped(Effect.flatMap(startProgram(program!, args, { env }), ({ ended }) => ended))

            const first = yield* startProgram(program!, args, { env })
            yield* first.prints(/^dlm: locks are kept in sqlite:/m)
            assert.strictEqual((yield* dlm("lock", "orders", "--id", "me", "--ttl", "10m")).status, 0)
            const [reload] = valuesOf("ExecReload")
            sh(reload!.replace("$MAINPID", String(first.pid)), folder)
            yield* first.complains(/SIGHUP: there is nothing to read anew/)
            const before = performance.now()
            yield* first.signal("SIGTERM")
            assert.strictEqual((yield* first.ended).status, 0)
            assert.isBelow((performance.now() - before) / 1_000, Number(valuesOf("TimeoutStopSec")[0]))

            const second = yield* startProgram(program!, args, { env })
            yield* second.prints(/^dlm: locks are kept in sqlite:/m)
            assert.strictEqual((yield* dlm("lock", "orders", "--id", "another")).status, 75)
          }),
        slow
      )
    }
  )
})

describe("a Dockerfile", () => {
  it("is read with its stages, without comments, and with lines that go on", () =>
    assert.deepStrictEqual(stagesOf("FROM a\n# RUN b\nRUN c \\\n  d\n\nFROM e\n"), [
      [{ name: "FROM", text: "a" }, { name: "RUN", text: "c d" }],
      [{ name: "FROM", text: "e" }]
    ]))
})
