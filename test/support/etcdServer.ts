/**
 * etcd of our own, on free ports: one member, and a cluster of three.
 */
import { NodeHttpClient } from "@effect/platform-node"
import { Effect, Layer, Schedule, Schema } from "effect"
import { NodeEtcdStore } from "effect-dlm/etcd"
import type { Store, StoreError } from "effect-dlm/server"
import { HttpClient, HttpClientRequest } from "effect/http"
import { execFile } from "node:child_process"
import * as programs from "./programs.ts"

/** The programs that the tests of this store need. */
export const needed = { etcd: "etcd-server", etcdctl: "etcd-client", openssl: "openssl" }

/** Asks a member at a path of its gateway, without our client, and gives its JSON. */
export const ask = (endpoint: string, path: string, body: unknown, token?: string) =>
  Effect.gen(function*() {
    const headers = token === undefined ? {} : { authorization: token }
    const response = yield* HttpClient.execute(
      HttpClientRequest.post(`${endpoint}${path}`, { headers }).pipe(HttpClientRequest.bodyJsonUnsafe(body))
    )
    const json = yield* response.json
    return response.status === 200 ? json : yield* Effect.fail(new Error(JSON.stringify(json)))
  }).pipe(Effect.timeout("10 seconds"), Effect.provide(NodeHttpClient.layerUndici))

const Status = Schema.Struct({
  leader: Schema.String,
  header: Schema.Struct({ member_id: Schema.String })
})

/** Who a member is, and whom it takes for the leader. */
const status = (endpoint: string) =>
  Effect.flatMap(
    Effect.timeout(ask(endpoint, "/v3/maintenance/status", {}), "1 second"),
    Schema.decodeUnknownEffect(Status)
  )

/** Succeeds once a member answers with what was agreed on, and so has a leader. It may ask who we are. */
const healthy = (endpoint: string) =>
  Effect.catchIf(
    Effect.timeout(ask(endpoint, "/v3/kv/range", { key: "aA==" }), "1 second"),
    (error) => error.message.includes("user name is empty"),
    () => Effect.void
  )

const member = Effect.fnUntraced(function*(
  options: {
    readonly name: string
    readonly client: number
    readonly peer: number
    readonly cluster: string
    readonly ready: Effect.Effect<unknown, unknown>
    readonly args: ReadonlyArray<string>
    readonly scheme?: "http" | "https" | undefined
  }
) {
  const folder = yield* programs.temporaryFolder("etcd")
  const endpoint = `${options.scheme ?? "http"}://127.0.0.1:${options.client}`
  const peer = `http://127.0.0.1:${options.peer}`
  const running = yield* programs.run("etcd", [
    `--name=${options.name}`,
    `--data-dir=${folder}`,
    `--listen-client-urls=${endpoint}`,
    `--advertise-client-urls=${endpoint}`,
    `--listen-peer-urls=${peer}`,
    `--initial-advertise-peer-urls=${peer}`,
    `--initial-cluster=${options.cluster}`,
    "--heartbeat-interval=50",
    "--election-timeout=500",
    ...options.args
  ], { ready: options.ready })
  return { ...running, endpoint }
})

const layerOf = (endpoints: ReadonlyArray<string>): Layer.Layer<Store.Store, StoreError.StoreError> =>
  NodeEtcdStore.layer({ endpoints })

/** Starts a single member. `secure` says that it listens with TLS, as `args` tell it, and then it is asked by etcdctl. */
export const server = Effect.fnUntraced(function*(
  options: {
    readonly args?: ReadonlyArray<string> | undefined
    readonly secure?: { readonly ca: string; readonly cert: string; readonly key: string } | undefined
  } = {}
) {
  const { secure } = options
  const client = yield* programs.freePort
  const peer = yield* programs.freePort
  const scheme = secure === undefined ? "http" : "https"
  const endpoint = `${scheme}://127.0.0.1:${client}`
  const running = yield* member({
    name: "one",
    client,
    peer,
    cluster: `one=http://127.0.0.1:${peer}`,
    scheme,
    args: options.args ?? [],
    ready: secure === undefined
      ? healthy(endpoint)
      : etcdctl(endpoint, "--cacert", secure.ca, "--cert", secure.cert, "--key", secure.key, "get", "h")
  })
  return { ...running, layer: layerOf([endpoint]) }
})

/** Starts three members. `leader` gives the place of the one that leads. */
export const cluster = Effect.fnUntraced(function*() {
  const ports = yield* Effect.replicateEffect(Effect.all([programs.freePort, programs.freePort]), 3)
  const all = ports.map(([, peer], i) => `m${i}=http://127.0.0.1:${peer}`).join(",")
  const members = yield* Effect.forEach(
    ports,
    ([client, peer], i) =>
      member({
        name: `m${i}`,
        client,
        peer,
        cluster: all,
        args: [],
        ready: healthy(`http://127.0.0.1:${client}`)
      }),
    { concurrency: "unbounded" }
  )
  const endpoints = members.map(({ endpoint }) => endpoint)
  /** The place of the leader among the members, once there is one. */
  const leader = Effect.gen(function*() {
    const seen = yield* Effect.forEach(endpoints, status)
    const at = seen.findIndex(({ header, leader }) => header.member_id === leader)
    return at === -1 ? yield* Effect.fail(new Error("there is no leader")) : at
  }).pipe(Effect.retry({ times: 100, schedule: Schedule.spaced("50 millis") }))
  return { members, endpoints, leader, layer: layerOf(endpoints) }
})

/** Runs a program to its end, and gives what it says. */
export const execute = (program: string, args: ReadonlyArray<string>): Effect.Effect<string, Error> =>
  Effect.callback((resume) => {
    const env = { ...process.env, ETCDCTL_API: "3" }
    const child = execFile(
      programs.find(program) ?? program,
      args,
      { env },
      (error, said) => resume(error === null ? Effect.succeed(said) : Effect.fail(error))
    )
    return Effect.sync(() => void child.kill())
  })

/** Runs etcdctl, and gives what it says. */
export const etcdctl = (endpoint: string, ...args: ReadonlyArray<string>): Effect.Effect<string, Error> =>
  execute("etcdctl", ["--endpoints", endpoint, "--command-timeout=1s", ...args])

/** How many leases the server holds. */
export const leases = (endpoint: string) =>
  Effect.map(etcdctl(endpoint, "lease", "list"), (said) => Number(/found (\d+) leases/.exec(said)?.[1]))

/** Puts something large until there is no space. */
export const fill = (endpoint: string) =>
  ask(endpoint, "/v3/kv/put", {
    key: Buffer.from("filler").toString("base64"),
    value: Buffer.alloc(256 * 1024).toString("base64")
  }).pipe(Effect.forever, Effect.flip)

/** Takes that away again, with all that was and is no more, and lets it be written to. */
export const free = Effect.fnUntraced(function*(endpoint: string) {
  const ctl = (...args: ReadonlyArray<string>) => etcdctl(endpoint, ...args)
  yield* ctl("del", "filler")
  const [, revision] = /"revision":(\d+)/.exec(yield* ctl("get", "none", "-w", "json"))!
  yield* ctl("compact", revision!, "--physical")
  yield* ctl("defrag")
  yield* ctl("alarm", "disarm")
})
