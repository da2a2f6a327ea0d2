/**
 * Starting a command by way of `sh`, with its arguments and variables as they are.
 */
import * as fs from "node:fs"

/** Where POSIX has it. */
export const path = "/bin/sh"

/** Whether there is one. */
export const isThere = (): boolean => process.platform !== "win32" && fs.existsSync(path)

const shellName = /^[A-Za-z_]\w*$/

/** Variables, and the beginning of a script that gives them to `"$@"`. */
export interface Carried {
  readonly env: Record<string, string>
  readonly script: string
}

/**
 * Some shells drop a variable whose name is none of theirs, such as `a.b`. It is carried as the value of another one, and
 * made again by `env`. Undefined where that cannot be: `env` takes a command with `=` in it for a variable.
 */
export const carry = (
  variables: Readonly<Record<string, string | undefined>>,
  command: string
): Carried | undefined => {
  const env: Record<string, string> = {}
  const carriers: Array<string> = []
  for (const [name, value] of Object.entries(variables)) {
    if (value === undefined) continue
    if (shellName.test(name)) {
      env[name] = value
    } else {
      const carrier = `DLM_CARRIED_${carriers.length}`
      carriers.push(carrier)
      env[carrier] = `${name}=${value}`
    }
  }
  if (carriers.length === 0) return { env, script: "" }
  if (command.includes("=")) return undefined
  const values = carriers.map((carrier) => `"$${carrier}"`).join(" ")
  return { env, script: `set -- /usr/bin/env ${values} "$@"; unset ${carriers.join(" ")}\n` }
}
