/**
 * Those who ask for as much as they can, and one who comes after them.
 */
import { assert, describe, it } from "@effect/vitest"
import { Effect } from "effect"
import { ask, connect, line, serve } from "../../support/tcp.ts"

const greedy = 20
const requests = 5000

const newline = 0x0a

describe("a new client", () => {
  it.live(
    "is answered long before those who asked for much before it have all of theirs",
    () =>
      Effect.gen(function*() {
        const { port } = yield* serve()
        const much = Buffer.concat(
          Array.from(
            { length: requests },
            () => line({ ID: "", FileName: "", Action: "Version", Expire: "0", Seq: "1" })
          )
        )
        let answered = 0
        const begun = Array.from({ length: greedy }, () =>
          Effect.flatMap(connect(port), (socket) =>
            Effect.callback<void>((resume) => {
              socket.on("data", (chunk) => {
                for (let at = chunk.indexOf(newline); at !== -1; at = chunk.indexOf(newline, at + 1)) {
                  answered++
                }
                resume(Effect.void)
              })
              socket.write(much)
            })))
        yield* Effect.all(begun, { concurrency: "unbounded" })
        const lock = { ID: "new", FileName: "new", Action: "Lock", Expire: "30" }
        assert.deepStrictEqual(yield* ask(port, line(lock)), { Status: "Locked", ID: "new" })
        assert.isBelow(answered, greedy * requests / 4)
        yield* Effect.sleep("5 millis").pipe(Effect.repeat({
          until: () =>
            answered === greedy * requests
        }))
      }),
    60_000
  )
})
