/**
 * `npm run api-report`: writes the public surface of the package to docs/api-report.md.
 */
import * as fs from "node:fs"
import { reportFile, surface } from "../test/api/surface.ts"

fs.writeFileSync(reportFile, surface())
console.log("docs/api-report.md is written")
