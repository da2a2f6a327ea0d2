import { postgresServer, programs } from "../../support/postgresServer.ts"
import { describeWith } from "../../support/programs.ts"
import { storeSuite } from "../../support/storeSuite.ts"

describeWith("the Postgres store", programs, () => storeSuite({ start: postgresServer, durable: true }))
