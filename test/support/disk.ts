/**
 * A disk that is small, and full.
 */
import { Effect, type Scope } from "effect"
import { execFileSync } from "node:child_process"
import * as fs from "node:fs"
import * as path from "node:path"
import { find, temporaryFolder } from "./programs.ts"

/** A small file system in memory, taken away with the scope. Undefined where it is not allowed. */
export const smallDisk = (size: string): Effect.Effect<string | undefined, never, Scope.Scope> =>
  Effect.flatMap(temporaryFolder("disk"), (folder) =>
    Effect.acquireRelease(
      Effect.sync(() => {
        try {
          execFileSync(find("mount")!, ["-t", "tmpfs", "-o", `size=${size}`, "tmpfs", folder], { stdio: "pipe" })
          return folder
        } catch {
          return undefined
        }
      }),
      (mounted) =>
        Effect.sync(() => mounted === undefined ? undefined : void execFileSync(find("umount")!, ["-l", mounted]))
    ))

const write = (file: number, bytes: number): boolean => {
  try {
    return fs.writeSync(file, Buffer.alloc(bytes)) === bytes
  } catch {
    return false
  }
}

/** Fills the disk of a folder to the last byte, and gives its room back. */
export const fillDisk = (folder: string) => {
  const filler = path.join(folder, "filler")
  return {
    fill: Effect.sync(() => {
      const file = fs.openSync(filler, "w")
      for (let bytes = 64 * 1024; bytes >= 1; bytes /= 2) while (write(file, bytes));
      fs.closeSync(file)
    }),
    free: Effect.sync(() => fs.rmSync(filler))
  }
}
