/**
 * `dlm serve --workers`: several processes on one port, over a store that they share. Connections that are opened one after another
 * are at one worker and the other by turns.
 */
import { assert, describe, it } from "@effect/vitest"
import { Clock, Effect, Fiber, Result, Schedule } from "effect"
import { Wire } from "effect-dlm/protocol"
import * as fs from "node:fs"
import type * as Net from "node:net"
import * as Path from "node:path"
import * as Tls from "node:tls"
import * as ProcessTable from "../../../src/node/ProcessTable.ts"
import * as Certificates from "../../support/certificates.ts"
import { describeWith, freePort, temporaryFolder } from "../../support/programs.ts"
import * as Redis from "../../support/redisServer.ts"
import { connect, line } from "../../support/tcp.ts"
import { assertFails, dlm, type Running, serve, startDlm } from "./processes.ts"

// Of a machine that is busy.
const timeout = 180_000

const file = Effect.map(temporaryFolder("workers"), (folder) => `sqlite:${Path.join(folder, "locks.db")}`)

interface Response {
  readonly Seq: string
  readonly Status: string
  readonly Fence?: string
}

// A fence is beyond what a number tells apart.
const fenceOf = ({ Fence }: Response): bigint => BigInt(Fence!)

/** What a socket of a client is asked, each with a number of its own; and its end. */
const clientOf = (socket: Net.Socket) => {
  let rest = ""
  let last = 0
  const answers = new Map<string, Response>()
  const waiting = new Set<() => void>()
  const told = () => waiting.forEach((look) => look())
  socket.on("error", () => {})
  socket.on("data", (chunk) => {
    const lines = (rest + chunk.toString("latin1")).split("\n")
    rest = lines.pop()!
    for (const one of lines) {
      const answer: Response = JSON.parse(Result.getOrThrow(Wire.decodeLine(Buffer.from(one, "latin1"))))
      answers.set(answer.Seq, answer)
    }
    told()
  })
  socket.on("close", told)
  const until = <A>(look: () => A | undefined) =>
    Effect.callback<A>((resume) => {
      const again = () => {
        const found = look()
        if (found !== undefined) resume(Effect.succeed(found))
      }
      waiting.add(again)
      again()
      return Effect.sync(() => void waiting.delete(again))
    })
  return {
    /** Sends a request, and gives what waits for its answer. */
    send: (Action: string, ID: string, fields: Record<string, string> = {}) => {
      const Seq = String(++last)
      socket.write(line({ Seq, ID, FileName: "f", Action, Expire: "60", ...fields }))
      return until(() => answers.get(Seq))
    },
    isClosed: () => socket.closed,
    closed: until(() => socket.closed ? true : undefined)
  }
}

const client = (port: number) => Effect.map(connect(port), clientOf)

/** The processes that a server has started. */
const workersOf = (process: Running): ReadonlyArray<number> =>
  ProcessTable.below(process.pid).filter(ProcessTable.isLiving).map(({ pid }) => pid)

const kill = (pid: number, signal: NodeJS.Signals) => Effect.sync(() => void process.kill(pid, signal))

/** Tells it to stop, and gives how it ended, and after how many milliseconds. */
const stopped = Effect.fnUntraced(function*(process: Running, signal: NodeJS.Signals = "SIGTERM") {
  const before = yield* Clock.currentTimeMillis
  yield* process.signal(signal)
  const ended = yield* process.ended
  return { ...ended, after: (yield* Clock.currentTimeMillis) - before }
})

/** What is answered over HTTP; with status 0 while nobody listens there. */
const get = (port: string, path: string) =>
  Effect.promise(async () => {
    try {
      const response = await fetch(`http://127.0.0.1:${port}${path}`, { headers: { connection: "close" } })
      return { status: response.status, text: await response.text() }
    } catch {
      return { status: 0, text: "" }
    }
  })

const refused = (problem: RegExp, args: ReadonlyArray<string>, env?: Record<string, string>) =>
  Effect.map(dlm(["serve", "--port", "0", ...args], { env }), (ended) => assertFails(ended, 64, problem))

describe("--workers", () => {
  it.live("is refused where it does not fit, and says what to do", () =>
    Effect.gen(function*() {
      const store = yield* file
      const memory =
        /^dlm: --workers need a store that processes share.* name another with --store.* or leave --workers/
      yield* refused(memory, ["--workers", "2"])
      yield* refused(memory, ["--workers", "1", "--store", "memory"])
      yield* refused(memory, [], { DLM_WORKERS: "2" })
      yield* refused(/--workers.*between 1 and 64/, ["--workers", "0", "--store", store])
      yield* refused(/--workers.*between 1 and 64/, ["--workers", "65", "--store", store])
      yield* refused(/DLM_WORKERS/, ["--store", store], { DLM_WORKERS: "many" })
      yield* refused(/--restart-grace is for the memory store/, [
        "--workers",
        "2",
        "--store",
        store,
        "--restart-grace",
        "1s"
      ])
    }), timeout)

  it.live(
    "fails as one process does where none can begin: with one line, and the same status",
    () =>
      Effect.gen(function*() {
        const store = yield* file
        const closed = yield* freePort
        const { port } = yield* serve()
        const wrong = [
          ["--port", String(port), "--store", store],
          ["--port", "0", "--store", `redis://127.0.0.1:${closed}`],
          ["--port", "0", "--store", "sqlite:/none/locks.db"],
          ["--port", "0", "--store", "nothing:at/all"],
          ["--port", "0", "--store", store, "--shard", "a"],
          ["--port", "0", "--store", store, "--host", "0.0.0.0"],
          ["--port", "0", "--store", store, "--tls-cert", import.meta.filename, "--tls-key", import.meta.filename]
        ]
        for (const args of wrong) {
          const [one, several] = yield* Effect.all([
            dlm(["serve", ...args]),
            dlm(["serve", ...args, "--workers", "2"])
          ], { concurrency: 2 })
          assert.deepStrictEqual(several, one)
          assertFails(several, one.status!, /./)
        }
        const json = yield* dlm(["serve", "--json", "--workers", "2", ...wrong[1]!])
        assert.match(json.stdout, /^\{"error":"StoreError","message":".*"\}\n$/)
      }),
    timeout
  )

  it.live("says once that all listen, in plain and as JSON", () =>
    Effect.gen(function*() {
      const store = yield* file
      const plain = yield* startDlm(["serve", "--port", "0", "--workers", "3", "--store", store])
      yield* plain.prints(/by 3 workers\n/)
      assert.strictEqual(workersOf(plain).length, 3)
      const { status, stderr, stdout } = yield* stopped(plain)
      assert.match(
        stdout,
        /^dlm: listening on 127\.0\.0\.1:\d+\ndlm: locks are kept in sqlite:\S+\ndlm: serves by 3 workers\n$/
      )
      assert.deepStrictEqual([status, stderr], [0, ""])
      const json = yield* serve("--workers", "1", "--store", store, "--shard", "a", "--shards", "a,b")
      assert.match(
        (yield* stopped(json.process)).stdout,
        /^\{"listening":"[^"]+","store":"[^"]+","shard":"a\/\w+","workers":1\}\n$/
      )
    }), timeout)
})

describe("a server whose workers do not all listen yet", () => {
  it.live("serves, and does not say that it listens", () =>
    Effect.gen(function*() {
      const [port, http] = [yield* freePort, yield* freePort]
      const args = ["--port", String(port), "--http", String(http), "--workers", "3", "--store", yield* file]
      const process = yield* startDlm(["serve", ...args])
      const pids = yield* Effect.sync(() => workersOf(process)).pipe(
        Effect.repeat({ until: (pids) => pids.length === 3, schedule: Schedule.spaced("1 milli") })
      )
      yield* kill(pids[1]!, "SIGSTOP")
      const serves = Effect.map(get(String(http), "/readyz"), ({ status }) => status).pipe(
        Effect.repeat({ until: (status) => status === 200, schedule: Schedule.spaced("50 millis") })
      )
      const said = Effect.as(process.prints(/listening/), "listening")
      assert.strictEqual(yield* Effect.raceFirst(serves, said), 200)
      assert.strictEqual((yield* Effect.flatMap(client(port), (one) => one.send("Lock", "me"))).Status, "Locked")
      yield* kill(pids[1]!, "SIGCONT")
      yield* said
    }), timeout)
})

describe("workers over SQLite", () => {
  it.live(
    "exclude one another; one that is killed takes its connections with it, and is started again",
    () =>
      Effect.gen(function*() {
        const server = yield* serve("--workers", "2", "--store", yield* file)
        const [first, second] = [yield* client(server.port), yield* client(server.port)]
        const held = yield* first.send("Lock", "first")
        assert.strictEqual(held.Status, "Locked")
        assert.strictEqual((yield* second.send("Lock", "second")).Status, "NotOwner")
        const granted = second.send("Lock", "second", { Wait: "60000" })
        const before = workersOf(server.process)
        // Which of the two it serves nobody tells.
        yield* kill(before[0]!, "SIGKILL")
        yield* Effect.raceFirst(first.closed, second.closed)
        assert.strictEqual(Number(first.isClosed()) + Number(second.isClosed()), 1)
        yield* server.process.complains(/worker \d, process \d+, was ended by SIGKILL, and is started again/)

        // What was held is in the store, whoever served it.
        const other = yield* client(server.port)
        const third = yield* client(server.port)
        for (const one of [other, third]) assert.strictEqual((yield* one.send("Lock", "other")).Status, "NotOwner")
        const waits = second.isClosed() ? other.send("Lock", "second", { Wait: "60000" }) : granted
        assert.strictEqual((yield* third.send("Unlock", "first")).Status, "Unlocked")
        const next = yield* waits
        assert.strictEqual(next.Status, "Locked")
        assert.isTrue(fenceOf(next) > fenceOf(held))

        yield* Effect.sync(() => workersOf(server.process)).pipe(
          Effect.repeat({ until: (now) => now.length === 2, schedule: Schedule.spaced("20 millis") })
        )
        assert.notInclude(workersOf(server.process), before[0])
        assert.include(workersOf(server.process), before[1])
        assert.strictEqual((yield* stopped(server.process)).status, 0)
      }),
    timeout
  )

  it.live(
    "answer those who wait when the server is told to stop, and what is held stays held",
    () =>
      Effect.gen(function*() {
        const store = yield* file
        const server = yield* serve("--workers", "2", "--store", store)
        const [first, second] = [yield* client(server.port), yield* client(server.port)]
        assert.strictEqual((yield* first.send("Lock", "me")).Status, "Locked")
        const answers = yield* Effect.forkChild(
          Effect.all([first.send("Lock", "a", { Wait: "60000" }), second.send("Lock", "b", { Wait: "60000" })])
        )
        // What comes after them is answered once they wait.
        for (const one of [first, second]) assert.strictEqual((yield* one.send("Version", "me")).Status, "Version")
        const { after, status, stderr } = yield* stopped(server.process)
        assert.strictEqual(status, 0)
        assert.isBelow(after, 3000)
        assert.strictEqual(stderr, "")
        assert.deepStrictEqual((yield* Fiber.join(answers)).map(({ Status }) => Status), ["NO", "NO"])
        const again = yield* serve("--store", store)
        assert.strictEqual((yield* again.dlm(["test", "f"])).status, 75)
      }),
    timeout
  )

  it.live("end with the process that has started them, however that ends", () =>
    Effect.gen(function*() {
      const server = yield* serve("--workers", "3", "--store", yield* file)
      const [one, other] = [yield* client(server.port), yield* client(server.port)]
      yield* one.send("Lock", "me")
      yield* other.send("Lock", "me")
      const pids = workersOf(server.process)
      assert.strictEqual(pids.length, 3)
      const { signal } = yield* stopped(server.process, "SIGKILL")
      assert.strictEqual(signal, "SIGKILL")
      yield* Effect.sync(() => pids.flatMap((pid) => ProcessTable.find(pid) ?? []).filter(ProcessTable.isLiving)).pipe(
        Effect.repeat({ until: (living) => living.length === 0, schedule: Schedule.spaced("20 millis") }),
        Effect.timeout("2 seconds")
      )
      yield* one.closed
      yield* other.closed
      assert.match(String(yield* Effect.flip(connect(server.port))), /ECONNREFUSED/)
    }), timeout)

  it.live(
    "end within five seconds where one of them hangs, and at once when they are told so twice",
    () =>
      Effect.gen(function*() {
        const store = yield* file
        for (const isTwice of [false, true]) {
          const server = yield* serve("--workers", "2", "--store", store)
          yield* kill(workersOf(server.process)[0]!, "SIGSTOP")
          if (isTwice) {
            yield* server.process.signal("SIGTERM")
            yield* Effect.sync(() => workersOf(server.process)).pipe(
              Effect.repeat({ until: (living) => living.length === 1, schedule: Schedule.spaced("20 millis") })
            )
          }
          const { after, status, stderr } = yield* stopped(server.process)
          assert.strictEqual(status, isTwice ? 143 : 0)
          assert.isBelow(after, isTwice ? 1000 : 5000)
          assert.strictEqual(stderr, isTwice ? "" : "dlm: something did not end in time, and is left as it is\n")
        }
      }),
    timeout
  )
})

const valueOf = (text: string, series: string) =>
  Number(text.split("\n").find((line) => line.startsWith(`${series} `))?.slice(series.length + 1) ?? 0)

const locked = "dlm_server_requests_total{action=\"Lock\",status=\"Locked\"}"

describe("operators of several workers", () => {
  it.live(
    "see one server: what all have counted, also those that have ended, and that one is ready",
    () =>
      Effect.gen(function*() {
        const server = yield* serve("--workers", "2", "--http", "0", "--store", yield* file)
        const [, http] = yield* server.process.prints(/"http":"127\.0\.0\.1:(\d+)"/)
        const metrics = Effect.map(get(http!, "/metrics"), ({ text }) => text)
        const [one, other] = [yield* client(server.port), yield* client(server.port)]
        for (let i = 0; i < 3; i++) yield* one.send("Lock", "me", { FileName: `one/${i}` })
        for (let i = 0; i < 4; i++) yield* other.send("Lock", "me", { FileName: `other/${i}` })
        const before = yield* metrics
        assert.strictEqual(valueOf(before, locked), 7)
        assert.strictEqual(valueOf(before, "dlm_server_connections"), 2)
        assert.strictEqual(valueOf(before, "dlm_server_workers"), 2)
        assert.strictEqual(before.match(/# TYPE dlm_server_requests_total counter/g)?.length, 1)

        const [pid] = workersOf(server.process)
        // One that hangs is no reason to send no more to the server.
        yield* kill(pid!, "SIGSTOP")
        assert.deepStrictEqual(yield* Effect.timeout(get(http!, "/readyz"), "1 second"), { status: 200, text: "ok\n" })
        assert.strictEqual(valueOf(yield* metrics, locked), 7)
        yield* kill(pid!, "SIGKILL")
        yield* Effect.raceFirst(one.closed, other.closed)
        yield* server.process.complains(/ended by SIGKILL/)
        const after = yield* metrics
        assert.strictEqual(valueOf(after, locked), 7)
        assert.strictEqual(valueOf(after, "dlm_server_connections"), 1)
        yield* Effect.repeat(metrics, {
          until: (text) => valueOf(text, "dlm_server_workers") === 2,
          schedule: Schedule.spaced("50 millis")
        })
        assert.strictEqual(valueOf(yield* metrics, locked), 7)
      }),
    timeout
  )

  it.live(
    "are told why a worker does not come back, ever less often, and it does when it can",
    () =>
      Effect.gen(function*() {
        const folder = yield* temporaryFolder("identities")
        const bad = Path.join(folder, "bad.cfg")
        const server = yield* serve("--workers", "2", "--identities", folder, "--store", yield* file)
        fs.writeFileSync(bad, "no JSON")
        yield* kill(workersOf(server.process)[0]!, "SIGKILL")
        yield* server.process.complains(
          /SIGKILL, and is started again in 100 ms[^]*status 64 \(.*bad\.cfg.*\), and is started again in 200 ms[^]*in 400 ms/
        )
        // The other one serves meanwhile.
        for (let i = 0; i < 2; i++) {
          assert.strictEqual(
            (yield* Effect.flatMap(client(server.port), (one) => one.send("Version", ""))).Status,
            "Version"
          )
        }
        fs.rmSync(bad)
        yield* Effect.sync(() => workersOf(server.process).length).pipe(
          Effect.repeat({ until: (count) => count === 2, schedule: Schedule.spaced("50 millis") })
        )
        assert.strictEqual((yield* stopped(server.process)).status, 0)
      }),
    timeout
  )
})

describe("SIGHUP", () => {
  it.live("has every worker read its files anew", () =>
    Effect.gen(function*() {
      const folder = yield* temporaryFolder("identities")
      const server = yield* serve("--workers", "2", "--identities", folder, "--store", yield* file)
      const [one, other] = [yield* client(server.port), yield* client(server.port)]
      const Identity = "s".repeat(1023)
      const prove = () =>
        Effect.all(
          [one, other].map((client) =>
            Effect.map(client.send("Version", "", { Name: "new", Identity }), (is) => is.Status)
          )
        )
      fs.writeFileSync(Path.join(folder, "new.cfg"), JSON.stringify({ Identity }))
      assert.deepStrictEqual(yield* prove(), ["BadPayload", "BadPayload"])
      yield* server.process.signal("SIGHUP")
      yield* server.process.complains(/read the identities anew[^]*read the identities anew/)
      assert.deepStrictEqual(yield* prove(), ["Version", "Version"])
    }), timeout)
})

describe("workers over TLS", () => {
  it.live("serve it all, with a client's certificate where one is wanted", () =>
    Effect.gen(function*() {
      const made = yield* Effect.flatMap(temporaryFolder("tls"), Certificates.make)
      const files = ["--tls-cert", made.server.cert, "--tls-key", made.server.key, "--tls-ca", made.ca]
      const server = yield* serve("--workers", "2", "--store", yield* file, ...files)
      const secure = Effect.map(
        Effect.acquireRelease(
          Effect.callback<Tls.TLSSocket, Error>((resume) => {
            const socket = Tls.connect({
              host: "127.0.0.1",
              port: server.port,
              ca: fs.readFileSync(made.ca),
              cert: fs.readFileSync(made.client.cert),
              key: fs.readFileSync(made.client.key)
            }, () => resume(Effect.succeed(socket)))
            socket.on("error", (error) => resume(Effect.fail(error)))
          }),
          (socket) => Effect.sync(() => socket.destroy())
        ),
        clientOf
      )
      const [one, other] = [yield* secure, yield* secure]
      assert.strictEqual((yield* one.send("Lock", "me")).Status, "Locked")
      assert.strictEqual((yield* other.send("Lock", "another")).Status, "NotOwner")
      yield* kill(workersOf(server.process)[0]!, "SIGKILL")
      yield* Effect.raceFirst(one.closed, other.closed)
      assert.strictEqual(Number(one.isClosed()) + Number(other.isClosed()), 1)
    }), timeout)
})

describeWith("workers over Redis", Redis.needed, () => {
  it.live("grant a name that one of them frees to who waits at another", () =>
    Effect.gen(function*() {
      const redis = yield* Redis.server()
      const server = yield* serve("--workers", "2", "--store", `redis://127.0.0.1:${redis.port}`)
      const [one, other] = [yield* client(server.port), yield* client(server.port)]
      let last = 0n
      for (let turn = 0; turn < 20; turn++) {
        const [holds, waits] = turn % 2 === 0 ? [one, other] : [other, one]
        const held = yield* holds.send("Lock", "first")
        assert.strictEqual(held.Status, "Locked")
        const granted = waits.send("Lock", "second", { Wait: "60000" })
        assert.strictEqual((yield* waits.send("Version", "")).Status, "Version")
        assert.strictEqual((yield* holds.send("Unlock", "first")).Status, "Unlocked")
        const next = yield* granted
        assert.strictEqual(next.Status, "Locked")
        assert.isTrue(fenceOf(held) > last)
        assert.isTrue(fenceOf(next) > fenceOf(held))
        last = fenceOf(next)
        assert.strictEqual((yield* waits.send("Unlock", "second")).Status, "Unlocked")
      }
      assert.strictEqual((yield* stopped(server.process)).status, 0)
    }), timeout)

  it.live(
    "answer what they are working on when a terminal tells them all, and the first process tells them too",
    () =>
      Effect.gen(function*() {
        const redis = yield* Redis.server()
        const server = yield* serve("--workers", "2", "--store", `redis://127.0.0.1:${redis.port}`)
        const clients = [yield* client(server.port), yield* client(server.port)]
        yield* redis.stop
        const answers = yield* Effect.forkChild(Effect.all(clients.map((one) => one.send("Lock", "me"))), {
          startImmediately: true
        })
        // It comes after the other, which has arrived then.
        for (const one of clients) assert.strictEqual((yield* one.send("Version", "")).Status, "Version")
        for (const pid of workersOf(server.process)) yield* kill(pid, "SIGINT")
        const { after, status } = yield* stopped(server.process, "SIGINT")
        assert.strictEqual(status, 0)
        assert.isBelow(after, 5000)
        assert.deepStrictEqual((yield* Fiber.join(answers)).map(({ Status }) => Status), ["NO", "NO"])
      }),
    timeout
  )
})
