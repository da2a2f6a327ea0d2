/**
 * A watch of etcd, over a client that answers as the test says.
 */
import { assert, describe, it } from "@effect/vitest"
import { Duration, Effect, Fiber, Logger, Queue, Stream } from "effect"
import { HttpClient, HttpClientResponse } from "effect/http"
import { TestClock } from "effect/testing"
import * as EtcdClient from "../../src/etcd/EtcdClient.ts"
import { freed } from "../../src/etcd/watching.ts"

const key = Buffer.from("dlm/a").toString("base64")
const created = (revision: string) => JSON.stringify({ result: { created: true, header: { revision } } })
const deleted = (revision: string) => JSON.stringify({ result: { header: { revision }, events: [{ kv: { key } }] } })
const compacted = JSON.stringify({ result: { canceled: true, compact_revision: "5", cancel_reason: "compacted" } })

/** Listens to watches that are answered one after another, each by these lines, and then by nothing more. */
const listening = (...watches: ReadonlyArray<ReadonlyArray<string>>) =>
  Effect.gen(function*() {
    const asked: Array<string | undefined> = []
    const warnings: Array<string> = []
    const noting = Logger.make<unknown, void>(({ message }) => void warnings.push(String(message)))
    const client: Pick<EtcdClient.EtcdClient, "lines"> = {
      lines: (_, body) => {
        const lines = watches[asked.length] ?? []
        asked.push(JSON.parse(body).create_request.start_revision)
        return Stream.concat(Stream.fromIterable(lines), Stream.never)
      }
    }
    const heard = yield* Queue.unbounded<string>()
    const fiber = yield* Effect.forkChild(
      Stream.runForEach(freed(client as EtcdClient.EtcdClient, "dlm/"), (name) => Queue.offer(heard, name)).pipe(
        Effect.provide(Logger.layer([noting]))
      )
    )
    return { asked, warnings, heard: Queue.size(heard), fiber }
  })

describe("a watch", () => {
  it.effect("that tells nothing is asked for anew, from what was told last", () =>
    Effect.gen(function*() {
      // The second begins, and its connection is silent then: what it was to tell is asked for once more.
      const { asked, fiber, heard, warnings } = yield* listening(
        [created("7"), deleted("9")],
        [created("20")],
        [created("21"), deleted("20")],
        [created("21")]
      )
      yield* TestClock.adjust("11 seconds")
      assert.deepStrictEqual(asked.slice(0, 4), [undefined, "10", "10", "21"])
      assert.strictEqual(yield* heard, 2)
      assert.deepStrictEqual(warnings, [])
      yield* Fiber.interrupt(fiber)
    }))

  it.effect("that is told what it missed in parts goes on behind the part that came", () =>
    Effect.gen(function*() {
      const part = JSON.stringify({
        result: { header: { revision: "50" }, events: [{ kv: { key, mod_revision: "9" } }] }
      })
      const { asked, fiber, heard } = yield* listening([created("7"), part])
      yield* TestClock.adjust("4 seconds")
      assert.deepStrictEqual(asked, [undefined, "10"])
      assert.strictEqual(yield* heard, 1)
      yield* Fiber.interrupt(fiber)
    }))

  it.effect("goes on behind a compaction, which is no failure", () =>
    Effect.gen(function*() {
      const { asked, fiber, heard, warnings } = yield* listening(
        [created("2")],
        [compacted],
        [created("8"), deleted("9")]
      )
      // The first tells nothing for its time, and the second has nothing to tell any more.
      yield* TestClock.adjust("4 seconds")
      assert.deepStrictEqual(asked, [undefined, "3", undefined])
      assert.strictEqual(yield* heard, 1)
      assert.deepStrictEqual(warnings, [])
      yield* Fiber.interrupt(fiber)
    }))

  it.effect("is asked for again whatever was told, and begins anew then", () =>
    Effect.gen(function*() {
      for (const wrong of ["{", "[]", "null", created("abc"), deleted("1.5")]) {
        const { asked, fiber, heard } = yield* listening([created("7")], [wrong], [created("3"), deleted("4")])
        yield* TestClock.adjust("8 seconds")
        assert.deepStrictEqual(asked.slice(0, 3), [undefined, "8", undefined], wrong)
        assert.strictEqual(yield* heard, 1)
        yield* Fiber.interrupt(fiber)
      }
    }))

  it.effect("that is never answered is warned of once", () =>
    Effect.gen(function*() {
      const { fiber, warnings } = yield* listening()
      yield* TestClock.adjust("30 seconds")
      assert.strictEqual(warnings.length, 1)
      assert.match(warnings[0]!, /not heard of \(etcd does not answer a watch within 3s\)/)
      yield* Fiber.interrupt(fiber)
    }))

  it.effect("fails where its member fails, so that this can be told", () =>
    Effect.gen(function*() {
      const http = HttpClient.make((request) =>
        Effect.succeed(HttpClientResponse.fromWeb(request, new Response("no", { status: 502 })))
      )
      const client = yield* EtcdClient.make({
        endpoints: ["http://127.0.0.1:1"],
        patience: Duration.seconds(1),
        credentials: undefined
      }).pipe(Effect.provideService(HttpClient.HttpClient, http))
      const error = yield* Effect.flip(Stream.runDrain(client.lines("/v3/watch", "{}")))
      assert.match(error.message, /answers with the status 502/)
    }))
})
