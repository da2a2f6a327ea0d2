/**
 * Pages that never read, of a server whose names and labels are as long as they may be.
 */
import { assert, describe, it } from "@effect/vitest"
import { Effect, Schedule } from "effect"
import * as fs from "node:fs"
import * as http from "node:http"
import type { NamesTold } from "../../../../src/node/page/browser/Told.ts"
import { encodeRequest } from "../../../../src/protocol/Protocol.ts"
import { atMostTwice, number, report } from "../../../support/report.ts"
import { connect } from "../../../support/tcp.ts"
import { until } from "../../hostile/processes.ts"
import { client, serve } from "./serving.ts"

const names = 20_000
const MiB = 1024 * 1024

/** All pages that may watch but one, which reads. */
const pages = 31

/** So many connections the test has besides. */
const others = 2

/** For all of them together, with what the collector has not found yet. */
const most = 64 * MiB

/** Holds so many names, of two bytes a character, with labels whose characters take six each in JSON. */
const hold = Effect.fnUntraced(function*(port: number) {
  const socket = yield* connect(port)
  const held = Effect.callback<void>((resume) => {
    let answers = 0
    socket.on("data", (chunk: Buffer) => {
      answers += chunk.toString("latin1").split("\n").length - 1
      if (answers >= names) resume(Effect.void)
    })
  })
  for (let i = 0; i < names; i++) {
    socket.write(encodeRequest({
      ID: "owner",
      FileName: `${i}${"é".repeat(240)}`,
      Action: "Lock",
      Expire: 3000,
      Seq: "1",
      Label: "\u0002".repeat(250)
    }))
  }
  yield* held
})

/** A page that reads: whether it was told that there is more, and how often something had changed. */
const reader = Effect.fnUntraced(function*(base: string) {
  const heard = { isCut: false, bytes: 0, looks: 0, hasEnded: false }
  let rest = ""
  const asked = http.get(`${base}/events`, (response) => {
    response.setEncoding("utf8")
    response.on("data", (text: string) => {
      heard.bytes += text.length
      const events = (rest + text).split("\n\n")
      rest = events.pop()!
      for (const event of events) {
        if (event.startsWith("event: rates\n")) heard.looks++
        if (!event.startsWith("event: names\ndata: ")) continue
        heard.isCut = (JSON.parse(event.slice("event: names\ndata: ".length)) as NamesTold).isCut
      }
    })
    response.on("close", () => {
      heard.hasEnded = true
    })
  })
  asked.on("error", () => {
    heard.hasEnded = true
  })
  yield* Effect.addFinalizer(() => Effect.sync(() => asked.destroy()))
  return heard
})

describe("pages that never read, of long names", () => {
  it.live.each(["the same names", "names of their own"] as const)(
    "take little memory, and one that reads is told all: %s",
    (which) =>
      Effect.gen(function*() {
        const { base, port, process } = yield* serve()
        yield* hold(port)
        const proc = `/proc/${process.pid}`
        const memory = (field: "VmRSS" | "VmHWM") =>
          Number(new RegExp(`^${field}:\\s+(\\d+) kB$`, "m").exec(fs.readFileSync(`${proc}/status`, "utf8"))![1]) * 1024
        const descriptors = () => fs.readdirSync(`${proc}/fd`).length
        const [before, atFirst] = [memory("VmRSS"), descriptors()]
        fs.writeFileSync(`${proc}/clear_refs`, "5")
        for (let i = 0; i < pages; i++) {
          const socket = yield* connect(Number(new URL(base).port))
          socket.pause()
          const prefix = which === "the same names" ? "" : `?prefix=${i === 0 ? "" : i}`
          socket.write(`GET /events${prefix} HTTP/1.1\r\nHost: localhost\r\n\r\n`)
        }
        const heard = yield* reader(base)
        // Something to tell at each look.
        const { lock, unlock } = yield* Effect.flatMap(client(port), (make) => make("a", "a"))
        yield* Effect.forkScoped(
          Effect.repeat(Effect.andThen(lock, unlock), { schedule: Schedule.spaced("50 millis") })
        )
        yield* until("it was looked often", () => heard.looks >= 20)
        // Where each has a share of its own, the kernel takes all of it, and the server sees nobody that does not read.
        if (which === "the same names") {
          yield* until("the server has dropped them", () => descriptors() <= atFirst + others)
        }
        const grown = memory("VmHWM") - before
        report(`page-memory-${which.split(" ")[0]}`, { section: "Hostile input", file: import.meta.filename }, [{
          what: `memory grown by ${pages} pages that never read, of ${which}, of ${number(names)} long ones, MiB`,
          figure: (grown / MiB).toFixed(1),
          goal: `<= ${most / MiB}`
        }])
        atMostTwice(grown, most, "memory grown, bytes")
        assert.deepInclude(heard, { isCut: true, hasEnded: false })
      }),
    180_000
  )
})
