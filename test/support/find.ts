/**
 * Where programs are that the tests start.
 */
import * as fs from "node:fs"
import * as path from "node:path"

/** Where a program is: where its path says, or on the path, or in a folder where Debian puts it. */
export const find = (program: string): string | undefined => {
  if (path.isAbsolute(program)) return fs.existsSync(program) ? program : undefined
  const postgres = "/usr/lib/postgresql"
  const versions = fs.existsSync(postgres)
    ? fs.readdirSync(postgres).map((version) => path.join(postgres, version, "bin"))
    : []
  return [...(process.env["PATH"] ?? "").split(":"), "/usr/sbin", "/sbin", ...versions]
    .map((folder) => path.join(folder, program))
    .find((file) => fs.existsSync(file))
}
