import { assert, describe, it } from "@effect/vitest"
import * as HostsUrl from "../../src/lib/HostsUrl.ts"

describe("a URL of several hosts", () => {
  it("says all that is in it, with nothing escaped", () => {
    assert.deepStrictEqual(HostsUrl.parse("etcd://me:p%40ss%2Fw%C3%B6rd@10.0.0.1:2379,db.example.org,[::1]:1/a/b"), {
      scheme: "etcd",
      user: "me",
      password: "p@ss/wörd",
      hosts: [
        { host: "10.0.0.1", port: 2379 },
        { host: "db.example.org", port: undefined },
        { host: "::1", port: 1 }
      ],
      path: "a/b"
    })
    assert.deepStrictEqual(HostsUrl.parse("rediss+sentinel://host"), {
      scheme: "rediss+sentinel",
      user: undefined,
      password: undefined,
      hosts: [{ host: "host", port: undefined }],
      path: undefined
    })
  })

  it("is none where any of it cannot be read", () => {
    for (
      const text of [
        "",
        "host",
        "etcd:host",
        "etcd://",
        "etcd://,host",
        "etcd://host,",
        "etcd://host:port",
        "etcd://host:65536",
        "etcd://[::1",
        "etcd://me@host",
        "etcd://me:pass@word@host",
        "etcd://me:%zz@host",
        "etcd://host?option",
        "etcd://host#part"
      ]
    ) assert.isUndefined(HostsUrl.parse(text), text)
  })
})
