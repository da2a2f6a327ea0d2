/**
 * Redis servers of our own, on free ports, and a set of Sentinels.
 */
import { Effect, Exit, Redacted, Schedule, Scope } from "effect"
import { RedisStore } from "effect-dlm/redis"
import * as fs from "node:fs"
import * as net from "node:net"
import * as path from "node:path"
import * as programs from "./programs.ts"

/** The programs that the tests of this store need. */
export const needed = { "redis-server": "redis-server" }

/** Asks a Redis some things, without any client, and gives all that it answers. */
const askAll = (port: number, commands: ReadonlyArray<ReadonlyArray<string>>): Effect.Effect<string, Error> =>
  Effect.callback((resume) => {
    const socket = net.connect(port, "127.0.0.1")
    let answer = ""
    socket.setEncoding("utf8")
    socket.on("connect", () => {
      const parts = commands.map((command) =>
        [`*${command.length}`, ...command.flatMap((part) => [`$${Buffer.byteLength(part)}`, part]), ""].join("\r\n")
      )
      // It answers what came before the end, and then ends too.
      socket.end(parts.join(""))
    })
    socket.on("data", (chunk) => answer += String(chunk))
    socket.on("error", (error) => resume(Effect.fail(error)))
    socket.on("close", () => resume(Effect.succeed(answer)))
    return Effect.sync(() => socket.destroy())
  })

/** Asks a Redis one thing, without any client, and gives what it answers. */
export const ask = (port: number, ...command: ReadonlyArray<string>) => askAll(port, [command])

/** As `ask`, with a password first. */
export const askAs = (password: string, port: number, ...command: ReadonlyArray<string>) =>
  Effect.map(askAll(port, [["AUTH", password], command]), (answer) => answer.replace("+OK\r\n", ""))

const fails = (answer: string, expected: string): Effect.Effect<void, Error> =>
  answer.includes(expected) ? Effect.void : Effect.fail(new Error(`${expected} was awaited, and it answered ${answer}`))

const retrying = Schedule.spaced("50 millis")

const listen = (port: number) => ["--bind", "127.0.0.1", "--port", String(port)]

/** Starts a Redis that keeps nothing, or with `durable` everything. */
export const server = Effect.fnUntraced(function*(
  options: { readonly durable?: boolean; readonly args?: ReadonlyArray<string> } = {}
) {
  const port = yield* programs.freePort
  const cwd = yield* programs.temporaryFolder("redis")
  const running = yield* programs.run("redis-server", [
    ...listen(port),
    "--save",
    "",
    "--appendonly",
    options.durable === true ? "yes" : "no",
    "--appendfsync",
    "always",
    ...(options.args ?? [])
  ], {
    cwd,
    // With a password it answers NOAUTH, and is as ready.
    ready: Effect.flatMap(
      ask(port, "PING"),
      (answer) => answer.startsWith("-NOAUTH") ? Effect.void : fails(answer, "+PONG")
    )
  })
  const layer = RedisStore.layerUrl({ url: Redacted.make(`redis://127.0.0.1:${port}`) })
  return { ...running, layer, port }
})

/** A Redis that the tests of a file share: started by the first that asks, and to be stopped after the last. */
export const shared = () => {
  const scope = Scope.makeUnsafe()
  let started: Promise<Effect.Success<ReturnType<typeof server>>> | undefined
  return {
    server: Effect.promise(() => started ??= Effect.runPromise(Scope.provide(server(), scope))),
    stop: () => Effect.runPromise(Scope.close(scope, Exit.void))
  }
}

/** Starts a master, two replicas of it, and three Sentinels that watch over them. */
export const sentinels = Effect.gen(function*() {
  const master = yield* server()
  const replicas = yield* Effect.replicateEffect(
    server({ args: ["--replicaof", "127.0.0.1", String(master.port), "--repl-diskless-sync-delay", "0"] }),
    2
  )
  yield* Effect.forEach(
    replicas,
    ({ port }) =>
      Effect.flatMap(ask(port, "INFO", "replication"), (answer) => fails(answer, "master_link_status:up")).pipe(
        Effect.retry({ times: 200, schedule: retrying })
      )
  )
  const watchers = yield* Effect.replicateEffect(sentinel(master.port), 3)
  // Each must know the other two before they can agree on anything.
  yield* Effect.forEach(
    watchers,
    ({ port }) =>
      Effect.flatMap(ask(port, "SENTINEL", "CKQUORUM", "mymaster"), (answer) => fails(answer, "+OK 3 usable")).pipe(
        Effect.retry({ times: 200, schedule: retrying })
      )
  )
  const layer = RedisStore.layerSentinel({
    master: "mymaster",
    sentinels: watchers.map(({ port }) => ({ host: "127.0.0.1", port }))
  })
  return { layer, master, replicas, sentinels: watchers }
})

const sentinel = Effect.fnUntraced(function*(master: number) {
  const port = yield* programs.freePort
  const cwd = yield* programs.temporaryFolder("sentinel")
  // It writes what it learns into its own configuration.
  const file = path.join(cwd, "sentinel.conf")
  fs.writeFileSync(
    file,
    [
      "bind 127.0.0.1",
      `port ${port}`,
      `sentinel monitor mymaster 127.0.0.1 ${master} 2`,
      "sentinel down-after-milliseconds mymaster 500",
      "sentinel failover-timeout mymaster 3000",
      "sentinel parallel-syncs mymaster 2"
    ].join("\n")
  )
  const running = yield* programs.run("redis-server", [file, "--sentinel"], {
    cwd,
    ready: Effect.flatMap(ask(port, "PING"), (answer) => fails(answer, "+PONG"))
  })
  return { ...running, port }
})
