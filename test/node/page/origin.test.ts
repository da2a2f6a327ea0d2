/**
 * Who may ask for the page, by what a browser says of where it comes from.
 */
import { assert, describe, it } from "@effect/vitest"
import * as Origin from "../../../src/node/page/origin.ts"

describe("a host by which only this machine is asked", () => {
  it("is one that nobody else can lead here", () => {
    for (const host of ["localhost", "localhost:9090", "LOCALHOST:9090", "127.0.0.1:9090", "127.8.9.1", "[::1]:9090"]) {
      assert.isTrue(Origin.isOfThisMachine({ host }), host)
    }
  })
  it("is no other, whatever it looks like", () => {
    for (
      const host of [
        undefined,
        "",
        "evil.example",
        "evil.example:9090",
        "127.0.0.1.evil.example",
        "localhost.evil.example",
        "user@127.0.0.1",
        "evil.example#@localhost",
        "localhost/../evil",
        "0.0.0.0:9090",
        "192.0.2.1",
        "[::2]:9090"
      ]
    ) {
      assert.isFalse(Origin.isOfThisMachine({ host }), host)
    }
  })
})

describe("the page of another site", () => {
  it("may only lead here", () => {
    assert.isTrue(Origin.isFromElsewhere({ "sec-fetch-site": "cross-site", "sec-fetch-mode": "no-cors" }))
    assert.isTrue(Origin.isFromElsewhere({ "sec-fetch-site": "same-site", "sec-fetch-mode": "cors" }))
    const leading = { "sec-fetch-mode": "navigate", "sec-fetch-dest": "document" }
    assert.isFalse(Origin.isFromElsewhere({ ...leading, "sec-fetch-site": "cross-site" }))
    assert.isTrue(Origin.isFromElsewhere({ ...leading, "sec-fetch-site": "cross-site", "sec-fetch-dest": "iframe" }))
    for (const site of ["same-origin", "none", undefined]) {
      assert.isFalse(Origin.isFromElsewhere({ "sec-fetch-site": site }))
    }
  })
})

describe("what changes something", () => {
  const host = "localhost:9090"
  it("comes from a page of ours, and something says so", () => {
    assert.isTrue(Origin.isFromOurs({ host, origin: "http://localhost:9090", "sec-fetch-site": "same-origin" }))
    assert.isTrue(Origin.isFromOurs({ host, origin: "http://localhost:9090" }))
    assert.isTrue(Origin.isFromOurs({ host, "sec-fetch-site": "same-origin" }))
    assert.isTrue(Origin.isFromOurs({ host: "dlm.example", origin: "https://dlm.example" }))
    for (
      const headers of [
        { host },
        { host, origin: "null" },
        { host, origin: "http://evil.example" },
        { host, origin: "http://localhost:9091" },
        { host, origin: "http://localhost:9090", "sec-fetch-site": "cross-site" },
        { host, "sec-fetch-site": "none" },
        { host, origin: "no address" }
      ]
    ) {
      assert.isFalse(Origin.isFromOurs(headers), JSON.stringify(headers))
    }
  })
  it("may be a form of a page that tells no referrer", () => {
    assert.isTrue(Origin.mayBeFromOurs({ host, origin: "null" }))
    assert.isTrue(Origin.mayBeFromOurs({ host }))
    assert.isFalse(Origin.mayBeFromOurs({ host, origin: "http://evil.example" }))
    assert.isFalse(Origin.mayBeFromOurs({ host, origin: "null", "sec-fetch-site": "cross-site" }))
  })
})
