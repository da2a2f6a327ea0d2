import * as etcdServer from "../../support/etcdServer.ts"
import { describeWith } from "../../support/programs.ts"
import { storeSuite } from "../../support/storeSuite.ts"

describeWith("the etcd store", etcdServer.needed, () => {
  // Entries end by the instance's own alarm, as soon as its request to delete them is through.
  storeSuite({ start: etcdServer.server(), durable: true, ttl: "1 second", late: "300 millis" })
})
