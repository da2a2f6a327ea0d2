/**
 * The files of deploy/, as they stand.
 */
import * as fs from "node:fs"
import * as path from "node:path"
import { project } from "../../docs/blocks.ts"

export const folder = path.join(project, "deploy")

export const read = (file: string): string => fs.readFileSync(path.join(folder, file), "utf8")

export const files: ReadonlyArray<string> = fs.readdirSync(folder).toSorted()

/** A YAML file with what stands in it as a comment, for TLS; and without what that is in place of. */
export const overTls = (yaml: string): string =>
  yaml.split("\n")
    .filter((line) => !line.includes("DLM_INSECURE"))
    // Prose stands at the margin, or has more than one word before its colon, if it has any.
    .map((line) => line.replace(/^( {4,})# ( *(?:- .*|\w+:(?: .*)?))$/, "$1$2"))
    .join("\n")
