/**
 * `dlm serve --store sqlite:FILE`, killed two hundred times in the midst of its work: what was acknowledged is there.
 */
import { assert, it } from "@effect/vitest"
import { Context, Effect, Layer, Queue, Random } from "effect"
import { Talker } from "effect-dlm"
import { NodeTalker } from "effect-dlm/node"
import { Protocol } from "effect-dlm/protocol"
import { execFileSync, spawn } from "node:child_process"
import * as path from "node:path"
import { createInterface } from "node:readline"
import { rolldown } from "rolldown"
import { temporaryFolder } from "../../support/programs.ts"

const kills = 200
/** So many files at once, each with a server of its own: one starts while another is at work. */
const lanes = 4
const clientsPerLane = 8
/** A server is killed when it has answered so often, at the most. */
const maxAnswers = 120

const bin = path.join(import.meta.dirname, "..", "..", "..", "src", "bin.ts")

/**
 * Makes the command a file or two, with what it compiles to kept beside: from its source, a server of so short a life
 * would do little but look for modules and compile them. The bundler is Vitest's own.
 */
const bundle = (folder: string) =>
  Effect.promise(async () => {
    const bundled = await rolldown({ input: bin, platform: "node", external: [/^redis$/, /^@effect\/sql-pg/] })
    await bundled.write({ dir: folder, format: "esm" })
    // What is compiled is kept only by a process that may end.
    execFileSync(process.execPath, [path.join(folder, "bin.js"), "serve", "--help"], { env: compiling(folder) })
  })

const compiling = (folder: string) => ({ ...process.env, NODE_COMPILE_CACHE: path.join(folder, "compiled") })

const serve = Effect.fnUntraced(function*(folder: string, file: string) {
  const lines = yield* Queue.unbounded<string>()
  const child = yield* Effect.acquireRelease(
    Effect.sync(() =>
      spawn(process.execPath, [
        path.join(folder, "bin.js"),
        "serve",
        "--port",
        "0",
        "--store",
        `sqlite:${path.join(folder, file)}`
      ], {
        stdio: ["ignore", "pipe", "inherit"],
        env: compiling(folder)
      })
    ),
    (child) =>
      Effect.callback<void>((resume) => {
        if (child.exitCode !== null || child.signalCode !== null) return resume(Effect.void)
        child.once("exit", () => resume(Effect.void))
        child.kill("SIGKILL")
      })
  )
  createInterface(child.stdout).on("line", (line) => Queue.offerUnsafe(lines, line))
  const line = yield* Queue.take(lines)
  return { port: Number(line.slice(line.lastIndexOf(":") + 1)), kill: () => void child.kill("SIGKILL") }
})

/** What a name is to its client: free, or held, perhaps with data. */
type State = { readonly owner: string; readonly data: string | undefined } | undefined

interface Client {
  readonly name: string
  /** What was acknowledged last. */
  state: State
  /** What is asked, and not acknowledged: it may have been done. */
  asked: { readonly state: State } | undefined
  /** The fence of the tenure, where one was acknowledged. */
  fence: bigint | undefined
}

interface Lane {
  readonly clients: ReadonlyArray<Client>
  /** The greatest fence that was acknowledged. */
  newest: bigint
  tenures: number
}

type Talk = Talker.Talker["Service"]["talk"]

const request = (name: string, owner: string, action: Protocol.Action, data?: string): Protocol.Request => ({
  Action: action,
  FileName: name,
  ID: owner,
  Expire: 3000,
  ...(data === undefined ? {} : { DataStore: data })
})

/** Asks for a new state of the name, and remembers what was acknowledged. */
const move = (talk: Talk, client: Client, owner: string, action: Protocol.Action, state: State) =>
  Effect.gen(function*() {
    client.asked = { state }
    const response = yield* talk(request(client.name, owner, action, state?.data))
    assert.strictEqual(response.Status, { Lock: "Locked", Put: "Done", Unlock: "Unlocked" }[action as string])
    client.state = state
    client.asked = undefined
    return response
  })

const lock = (talk: Talk, lane: Lane, client: Client) =>
  Effect.gen(function*() {
    const owner = `${client.name} ${lane.tenures++}`
    const before = lane.newest
    client.fence = undefined
    const response = yield* move(talk, client, owner, "Lock", { owner, data: undefined })
    client.fence = fenceOf(response)
    assert.isTrue(client.fence > before, `the fence ${client.fence} came after ${before}`)
    if (client.fence > lane.newest) lane.newest = client.fence
  })

const fenceOf = (response: Protocol.Response): bigint => {
  assert.strictEqual(response.Status, "Locked")
  return BigInt((response as Extract<Protocol.Response, { readonly Status: "Locked" }>).Fence!)
}

/** Takes the name, writes some data, and lets it go, over and over, until the server has gone. */
const work = (talk: Talk, lane: Lane, client: Client, answered: () => void) =>
  Effect.gen(function*() {
    for (let round = 0;; round++) {
      if (client.state === undefined) {
        yield* lock(talk, lane, client)
      } else if (round % 4 === 3) {
        yield* move(talk, client, client.state.owner, "Unlock", undefined)
      } else {
        const { owner } = client.state
        yield* move(talk, client, owner, "Put", { owner, data: `${owner}: ${round}, ${"x".repeat(round * 50 % 3000)}` })
      }
      answered()
    }
  })

/** What the name is now. */
const look = (talk: Talk, { asked, name, state }: Client) =>
  Effect.gen(function*() {
    const owner = state?.owner ?? asked?.state?.owner ?? "nobody"
    const response = yield* talk(request(name, owner, "Get"))
    switch (response.Status) {
      case "Done":
        return { owner, data: response.DataStore }
      case "NoData":
        return { owner, data: undefined }
      case "NotFound":
        return undefined
      default:
        return yield* Effect.die(new Error(`${name} is in nobody's hands: ${response.Status}`))
    }
  })

/** That what was acknowledged is there, and of what was asked all or nothing. */
const check = (talk: Talk, lane: Lane, client: Client) =>
  Effect.gen(function*() {
    const found = yield* look(talk, client)
    const possible = client.asked === undefined ? [client.state] : [client.state, client.asked.state]
    assert.deepInclude(possible, found, client.name)
    client.state = found
    client.asked = undefined
    if (found === undefined) return
    const thief = yield* talk(request(client.name, "thief", "Lock"))
    assert.strictEqual(thief.Status, "NotOwner")
    const fence = fenceOf(yield* talk(request(client.name, found.owner, "Lock")))
    if (client.fence === undefined) client.fence = fence
    assert.strictEqual(fence, client.fence, "of the same tenure")
    if (fence > lane.newest) lane.newest = fence
  })

const runLane = Effect.fnUntraced(function*(folder: string, index: number, times: number) {
  const lane: Lane = {
    clients: Array.from({ length: clientsPerLane }, (_, i) => ({
      name: `${index}.${i}`,
      state: undefined,
      asked: undefined,
      fence: undefined
    })),
    newest: 0n,
    tenures: 0
  }
  let acknowledged = 0
  for (let time = 0; time < times; time++) {
    yield* Effect.scoped(Effect.gen(function*() {
      const { kill, port } = yield* serve(folder, `${index}.db`)
      const { talk } = Context.get(yield* Layer.build(Layer.fresh(NodeTalker.layer({ port }))), Talker.Talker)
      yield* Effect.forEach(lane.clients, (client) => check(talk, lane, client), { concurrency: "unbounded" })
      let left = yield* Random.nextIntBetween(1, maxAnswers)
      const answered = () => {
        acknowledged++
        if (--left === 0) kill()
      }
      yield* Effect.forEach(
        lane.clients,
        (client) => Effect.catchTag(work(talk, lane, client, answered), "TransportError", () => Effect.void),
        { concurrency: "unbounded" }
      )
    }))
  }
  return acknowledged
})

it.live(`${kills} kills lose nothing that was acknowledged`, () =>
  Effect.gen(function*() {
    const folder = yield* temporaryFolder("crash")
    yield* bundle(folder)
    const acknowledged = yield* Effect.forEach(
      Array.from({ length: lanes }, (_, i) => i),
      (i) => runLane(folder, i, kills / lanes),
      { concurrency: "unbounded" }
    )
    assert.isAbove(acknowledged.reduce((sum, n) => sum + n), kills)
  }), 600_000)
