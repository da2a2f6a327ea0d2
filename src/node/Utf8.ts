/**
 * Arguments and variables that are not UTF-8. Node replaces what is wrong in them, so that they would name something else.
 */
import * as Effect from "effect/Effect"
import * as Result from "effect/Result"
import * as fs from "node:fs"
import { decodeUtf8 } from "../protocol/Wire.ts"

const replaced = "\ufffd"

// As the system has them, where it shows them; else a replacement tells, which may also have been meant.
const piecesOf = (file: string): ReadonlyArray<Buffer> | undefined => {
  try {
    const bytes = fs.readFileSync(file)
    const pieces: Array<Buffer> = []
    for (let from = 0; from < bytes.length;) {
      const to = bytes.indexOf(0, from)
      pieces.push(bytes.subarray(from, to < 0 ? bytes.length : to))
      from = to < 0 ? bytes.length : to + 1
    }
    return pieces
  } catch {
    return undefined
  }
}

const isWrong = (piece: Buffer): boolean => Result.isFailure(decodeUtf8(piece))

/** The first argument that is not UTF-8, as far as it can be read. */
export const wrongArgument: Effect.Effect<string | undefined> = Effect.sync(() => {
  const pieces = piecesOf("/proc/self/cmdline")
  return pieces === undefined
    ? process.argv.slice(2).find((argument) => argument.includes(replaced))
    : pieces.find(isWrong)?.toString()
})

/** The name of the first variable that is not UTF-8, of those that matter, as far as it can be read. */
export const wrongVariable = (matters: (name: string) => boolean): Effect.Effect<string | undefined> =>
  Effect.sync(() => {
    const pieces = piecesOf("/proc/self/environ")
    const names = pieces === undefined
      ? Object.entries(process.env).filter((entry) => entry.join("=").includes(replaced)).map(([name]) => name)
      : pieces.filter(isWrong).map((piece) => piece.toString().split("=", 1)[0]!)
    return names.find(matters)
  })
