import { NodeHttpClient } from "@effect/platform-node"
import { assert, it } from "@effect/vitest"
import {
  Cause,
  Config,
  ConfigProvider,
  Context,
  Duration,
  Effect,
  Exit,
  Fiber,
  Layer,
  Option,
  Redacted,
  Scope,
  Stream
} from "effect"
import { EtcdStore, NodeEtcdStore } from "effect-dlm/etcd"
import { Store, StoreError } from "effect-dlm/server"
import { HttpClient, HttpClientRequest } from "effect/http"
import * as fs from "node:fs"
import { make as makeClient } from "../../../src/etcd/EtcdClient.ts"
import * as history from "../../../src/etcd/history.ts"
import { freshName } from "../../support/contract.ts"
import * as etcdServer from "../../support/etcdServer.ts"
import { collected } from "../../support/logs.ts"
import { goesOn } from "../../support/olderEntry.ts"
import { describeWith, freePort, temporaryFolder } from "../../support/programs.ts"
import { hears, instance, lock, read, unlock } from "./instance.ts"

/** A store over a client that tells of all that is sent, and may change it. */
const observed = (
  endpoint: string,
  options: { readonly change?: (path: string, body: string) => string } = {}
) => {
  const sent: Array<{ readonly path: string; readonly body: string }> = []
  const client = Layer.effect(
    HttpClient.HttpClient,
    Effect.map(HttpClient.HttpClient, (client) =>
      HttpClient.mapRequest(client, (request) => {
        const path = new URL(request.url).pathname
        const bytes = request.body._tag === "Uint8Array" ? request.body.body : new Uint8Array()
        const before = new TextDecoder().decode(bytes)
        const body = options.change?.(path, before) ?? before
        sent.push({ path, body })
        return HttpClientRequest.bodyText(request, body, "application/json")
      }))
  ).pipe(Layer.provide(Layer.fresh(NodeHttpClient.layerUndici)))
  const bodies = (path: string) => sent.filter((one) => one.path === path).map(({ body }) => body)
  return {
    layer: EtcdStore.layer({ endpoints: [endpoint] }).pipe(Layer.provide(client)),
    bodies,
    /** The requests for leases of entries. */
    grantsOfEntries: () => bodies(grants).filter((body) => !isOfStamp(body))
  }
}

const transactions = "/v3/kv/txn"
const grants = "/v3/lease/grant"

/** Of what is sent with the default timeout of two seconds: see `Stamps`. */
const isOfStamp = (grant: string): boolean => grant === `{"TTL":"7"}`

const failureOf = (layer: Layer.Layer<Store.Store, unknown>) =>
  Effect.map(Effect.flip(Effect.scoped(Layer.build(layer))), (error) => {
    assert.instanceOf(error, StoreError.StoreError)
    assert.isUndefined(error.name)
    return error.message
  })

describeWith("the etcd store", etcdServer.needed, () => {
  it.live("takes, renews and frees in one round trip each, and many at once in few", () =>
    Effect.gen(function*() {
      const { endpoint } = yield* etcdServer.server()
      const { bodies, grantsOfEntries, layer } = observed(endpoint)
      const store = yield* instance(layer)
      const name = freshName()
      yield* lock(store, name, "me")
      const before = bodies(transactions).length
      for (const ask of [lock, lock, unlock, lock, unlock, unlock]) yield* ask(store, name, "me")
      assert.strictEqual(bodies(transactions).length - before, 6)
      // With a label too; only another one cannot be guessed.
      const others = yield* instance(layer)
      const trips = Effect.fnUntraced(function*(expected: number, asked: ReturnType<typeof lock>, what: string) {
        const sent = bodies(transactions).length
        assert.isTrue((yield* asked).answer, what)
        assert.strictEqual(bodies(transactions).length - sent, expected, what)
      })
      const labelled = (label?: string) => lock(store, name, "me", 60_000, undefined, label)
      yield* trips(1, labelled("one"), "a lock with a label")
      yield* trips(1, labelled("one"), "a renewal with the same")
      yield* trips(1, labelled(), "a renewal with none")
      yield* trips(2, labelled("two"), "a renewal with another")
      yield* trips(1, labelled("two"), "a renewal with that")
      // It has heard of the store since the name was written.
      yield* read(others, name)
      yield* trips(1, unlock(others, name, "me"), "an unlock at another instance")
      const already = bodies(transactions).length
      const many = Array.from({ length: 128 }, (_, i) => `${name}.${i}`)
      const locked = yield* Effect.forEach(many, (one) => lock(store, one, "me"), { concurrency: "unbounded" })
      assert.isAtMost(bodies(transactions).length - already, 4)
      assert.isTrue(locked.every(({ answer, fence }) => answer && fence !== undefined))
      assert.strictEqual(grantsOfEntries().length, 1)
    }).pipe(Effect.scoped))

  it.live("goes on with what a version without labels wrote", () =>
    Effect.gen(function*() {
      const { endpoint, layer } = yield* etcdServer.server()
      const name = freshName()
      yield* etcdServer.etcdctl(endpoint, "put", `effect-dlm/${name}`, `{"owner":"me"}`)
      const store = yield* instance(layer)
      const { fence } = yield* read(store, name)
      yield* goesOn(store, name, fence!)
    }).pipe(Effect.scoped))

  it.live("shares leases among all that is written with the same time to live", () =>
    Effect.gen(function*() {
      const { endpoint, layer } = yield* etcdServer.server()
      const [one, other] = yield* Effect.all([instance(layer), instance(layer)])
      const many = Effect.forEach(
        Array.from({ length: 40 }, (_, i) => i),
        (i) => lock(i % 2 === 0 ? one : other, freshName(), "me", i < 20 ? 30_000 : 40_000),
        { concurrency: "unbounded" }
      )
      // Those of the second time find a lease, those of the first wait for one that is on its way.
      yield* Effect.repeat(many, { times: 1 })
      // One each, and one each for what is sent at all.
      assert.strictEqual(yield* etcdServer.leases(endpoint), 6)
    }).pipe(Effect.scoped))

  it.live("has the next lease before it needs it", () =>
    Effect.gen(function*() {
      const { endpoint } = yield* etcdServer.server()
      const { bodies, grantsOfEntries, layer } = observed(endpoint)
      const store = yield* instance(layer)
      const name = freshName()
      const before = bodies(transactions).length
      let locked = 0
      yield* Effect.repeat(lock(store, name, "me", 1000), {
        until: ({ answer }) => answer && ++locked > 0 && grantsOfEntries().length === 4
      })
      // None had to be written again.
      assert.strictEqual(bodies(transactions).length - before, locked)
    }).pipe(Effect.scoped))

  it.live("ends by its lease what an instance left behind, and never early", () =>
    Effect.gen(function*() {
      const { layer } = yield* etcdServer.server()
      const survivor = yield* instance(layer)
      const name = freshName()
      const scope = yield* Scope.make()
      const dying = yield* Scope.provide(instance(layer), scope)
      const listening = yield* Effect.forkScoped(hears(survivor, name), { startImmediately: true })
      const before = performance.now()
      yield* lock(dying, name, "me", 1000)
      yield* Scope.close(scope, Exit.void)
      assert.isFalse((yield* lock(survivor, name, "other")).answer)
      yield* Fiber.join(listening)
      assert.isAtLeast(performance.now() - before, 1000)
      assert.isTrue((yield* lock(survivor, name, "other")).answer)
    }).pipe(Effect.scoped), 30_000)

  it.live("takes another lease where one was lost", () =>
    Effect.gen(function*() {
      const { endpoint, layer } = yield* etcdServer.server()
      const store = yield* instance(layer)
      const name = freshName()
      const { fence } = yield* lock(store, name, "me")
      const listed = yield* etcdServer.etcdctl(endpoint, "lease", "list")
      // That of the stamp too: then it is void what is sent, and sent again with another.
      const ids = listed.match(/^[0-9a-f]{16}$/gm)!
      assert.strictEqual(ids.length, 2)
      for (const id of ids) yield* etcdServer.etcdctl(endpoint, "lease", "revoke", id)
      const again = yield* lock(store, name, "me")
      assert.isTrue(again.answer && again.fence! > fence!)
    }).pipe(Effect.scoped))

  it.live("refuses what has no lease, and not what is sent with it", () =>
    Effect.gen(function*() {
      const { endpoint } = yield* etcdServer.server()
      const key = Buffer.from("effect-dlm/bad").toString("base64")
      const lost = new RegExp(`("key":"${key}","value":"[^"]*","lease":")\\d+`, "g")
      const { bodies, layer } = observed(endpoint, {
        change: (_, body) => body.replace(lost, (_, before: string) => `${before}1`)
      })
      const store = yield* instance(layer)
      yield* lock(store, "before", "me")
      const [good, bad, freed] = yield* Effect.all([
        Effect.exit(lock(store, "good", "me")),
        Effect.exit(lock(store, "bad", "me")),
        Effect.exit(unlock(store, "before", "me"))
      ], { concurrency: "unbounded" })
      assert.isTrue(bodies(transactions).some((body) => body.includes(key) && body.split("request_txn").length > 2))
      assert.include(String(bad), "lease not found")
      assert.deepStrictEqual([good, freed].map((exit) => Exit.isSuccess(exit) && exit.value.answer), [true, true])
    }))

  it.live("takes what is to last longer than etcd can count, and renews it", () =>
    Effect.gen(function*() {
      const { layer } = yield* etcdServer.server()
      const store = yield* instance(layer)
      for (const seconds of [8e9, 9e9, 1e11, 8e9]) {
        assert.isTrue((yield* lock(store, "name", "me", seconds * 1000)).answer, `${seconds} s`)
      }
    }))

  it.live("is warned of that keeps all that ever was, until that is compacted", () =>
    Effect.gen(function*() {
      const { endpoint, layer } = yield* etcdServer.server()
      const store = yield* instance(layer)
      yield* Effect.repeat(Effect.andThen(lock(store, "name", "me"), unlock(store, "name", "me")), { times: 10 })
      const client = yield* makeClient({ endpoints: [endpoint], credentials: undefined, patience: Duration.seconds(2) })
      const logs = yield* collected
      const warned = Effect.provide(
        Effect.andThen(history.warn(client, "effect-dlm/", 10n), Effect.logInfo("looked")),
        logs.layer
      )
      yield* warned
      assert.match(yield* logs.next, /^Warn: etcd keeps more than 10 old revisions.*--auto-compaction-mode/)
      assert.strictEqual(yield* logs.next, "Info: looked")
      const answer = yield* etcdServer.etcdctl(endpoint, "get", "none", "-w", "json")
      yield* etcdServer.etcdctl(endpoint, "compact", /"revision":(\d+)/.exec(answer)![1]!)
      yield* warned
      assert.strictEqual(yield* logs.next, "Info: looked")
    }).pipe(Effect.provide(NodeHttpClient.layerUndici)))

  it.live("writes again where the lease might end too early, before it says that it did", () =>
    Effect.gen(function*() {
      const { endpoint } = yield* etcdServer.server()
      let short = true
      const { grantsOfEntries, layer } = observed(endpoint, {
        change: (path, body) => {
          if (path !== grants || isOfStamp(body) || !short) return body
          short = false
          return `{"TTL":"5"}`
        }
      })
      const store = yield* instance(layer)
      const name = freshName()
      const first = yield* lock(store, name, "me", 5000)
      assert.isTrue(first.answer && first.fence! < first.revision!)
      assert.strictEqual(grantsOfEntries().length, 2)
      const seen = yield* read(store, name)
      assert.strictEqual(seen.revision, first.revision)
    }).pipe(Effect.scoped))

  it.live("does nothing for a request that comes a second time, long after", () =>
    Effect.gen(function*() {
      const { endpoint } = yield* etcdServer.server()
      const { bodies, layer } = observed(endpoint)
      const store = yield* instance(layer)
      const name = freshName()
      const lastBody = () => bodies(transactions).at(-1)!
      const replay = (body: string) => etcdServer.ask(endpoint, transactions, JSON.parse(body))
      yield* lock(store, name, "me")
      yield* lock(store, name, "me")
      const renewal = lastBody()
      yield* lock(store, name, "me")
      const held = yield* read(store, name)
      yield* replay(renewal)
      assert.strictEqual((yield* read(store, name)).revision, held.revision)
      yield* unlock(store, name, "me")
      const release = lastBody()
      yield* lock(store, name, "me")
      yield* replay(release)
      assert.strictEqual((yield* read(store, name)).answer?.owner, "me")
    }).pipe(Effect.scoped))

  it.live("leaves nothing behind of what failed while etcd was away, and hears of releases again", () =>
    Effect.gen(function*() {
      const { kill, layer, start } = yield* etcdServer.server()
      const [store, other] = yield* Effect.all([instance(layer), instance(layer)])
      const [given, next] = [freshName(), freshName()]
      const listening = yield* Effect.forkScoped(hears(store, next), { startImmediately: true })
      // There is a lease, so that the request itself is what fails.
      yield* lock(store, freshName(), "me")
      yield* kill
      const error = yield* Effect.flip(lock(store, given, "me"))
      assert.strictEqual(error.name, given)
      assert.include(error.message, "ECONNREFUSED")
      yield* start
      assert.isUndefined((yield* read(other, given)).answer)
      assert.isTrue((yield* lock(store, given, "another")).answer)
      const frees = Effect.andThen(lock(other, next, "me"), unlock(other, next, "me"))
      yield* Effect.raceFirst(
        Fiber.join(listening),
        Effect.forever(Effect.andThen(frees, Effect.sleep("100 millis")))
      )
    }).pipe(Effect.scoped))

  it.live("keeps data of a megabyte over an entry that is there, and says what etcd will not take", () =>
    Effect.gen(function*() {
      const { endpoint } = yield* etcdServer.server()
      // A megabyte may take a slow disk longer than the default.
      const store = yield* instance(NodeEtcdStore.layer({ endpoints: [endpoint], timeout: "20 seconds" }))
      const name = freshName()
      yield* lock(store, name, "me")
      const data = "x".repeat(1024 * 1024)
      assert.isTrue((yield* lock(store, name, "me", 60_000, data)).answer)
      assert.strictEqual((yield* read(store, name)).answer?.data, data)
      const [error, beside] = yield* Effect.all([
        Effect.flip(lock(store, name, "me", 60_000, "x".repeat(1.75 * 1024 * 1024))),
        lock(store, freshName(), "me")
      ], { concurrency: "unbounded" })
      assert.include(error.message, "request is too large")
      assert.isTrue(beside.answer)
    }).pipe(Effect.scoped))

  it.live("keeps names apart that are the same in UTF-8", () =>
    Effect.gen(function*() {
      const { layer } = yield* etcdServer.server()
      const store = yield* instance(layer)
      const names = ["\ud800", "\ud801", "\ufffd", "\\ud800", "\"", "\\\""]
      for (const name of names) yield* lock(store, name, `owner of ${name}`)
      for (const name of names) assert.strictEqual((yield* read(store, name)).answer?.owner, `owner of ${name}`)
    }).pipe(Effect.scoped))

  it.live("does not share the locks of another prefix, nor hear of them", () =>
    Effect.gen(function*() {
      const { endpoint } = yield* etcdServer.server()
      const [mine, other] = yield* Effect.all(
        ["a", "b"].map((prefix) => instance(NodeEtcdStore.layer({ endpoints: [endpoint], prefix })))
      )
      const name = freshName()
      const first = yield* Effect.forkScoped(Stream.runHead(mine!.sharing!.freed), { startImmediately: true })
      yield* lock(mine!, name, "me")
      assert.isTrue((yield* lock(other!, name, "you")).answer)
      const frees = Effect.gen(function*() {
        yield* lock(other!, "theirs", "you")
        yield* unlock(other!, "theirs", "you")
        yield* lock(mine!, name, "me")
        yield* unlock(mine!, name, "me")
        yield* Effect.sleep("100 millis")
      })
      const heard = yield* Effect.raceFirst(Fiber.join(first), Effect.forever(frees))
      assert.deepStrictEqual(heard, Option.some(name))
    }).pipe(Effect.scoped))

  it.live("says at once where there is no etcd, or something else", () =>
    Effect.gen(function*() {
      const port = yield* freePort
      const nobody = yield* failureOf(NodeEtcdStore.layer({ endpoints: [`http://127.0.0.1:${port}`] }))
      assert.include(nobody, `http://127.0.0.1:${port} cannot be reached (connect ECONNREFUSED`)
      assert.include(
        yield* failureOf(NodeEtcdStore.layer({ endpoints: [], timeout: "1 second" })),
        "no endpoint is given"
      )
    }))

  it.live("goes on to another member where one is not there", () =>
    Effect.gen(function*() {
      const { endpoint } = yield* etcdServer.server()
      const dead = `http://127.0.0.1:${yield* freePort}`
      const store = yield* instance(NodeEtcdStore.layer({ endpoints: [dead, endpoint] }))
      assert.isTrue((yield* lock(store, freshName(), "me")).answer)
    }).pipe(Effect.scoped))

  it.live("warns once that it may not watch, and says once that it does again", () =>
    Effect.gen(function*() {
      const { endpoint } = yield* etcdServer.server()
      const asRoot = (...command: ReadonlyArray<string>) =>
        etcdServer.etcdctl(endpoint, "--user", "root:secret", ...command)
      yield* etcdServer.etcdctl(endpoint, "user", "add", "root:secret")
      yield* etcdServer.etcdctl(endpoint, "user", "grant-role", "root", "root")
      yield* etcdServer.etcdctl(endpoint, "auth", "enable")
      yield* asRoot("role", "add", "locks")
      // Any name of ours, and not quite all that begins so.
      yield* asRoot("role", "grant-permission", "locks", "readwrite", "effect-dlm/", "effect-dlm/~")
      yield* asRoot("user", "add", "dlm:hunter2")
      yield* asRoot("user", "grant-role", "dlm", "locks")
      const credentials = { username: "dlm", password: Redacted.make("hunter2") }
      const store = yield* instance(NodeEtcdStore.layer({ endpoints: [endpoint], credentials }))
      const name = freshName()
      assert.isTrue((yield* lock(store, name, "me")).answer)
      const logs = yield* collected
      const hearing = yield* Effect.forkScoped(Effect.provide(hears(store, name), logs.layer))
      const warning = yield* logs.next
      assert.match(warning, /^Warn: .*permission denied.*look by themselves, once a second.*begin with effect-dlm\/$/)
      assert.notMatch(warning, /hunter2/)
      yield* asRoot("role", "grant-permission", "locks", "--prefix=true", "readwrite", "effect-dlm/")
      assert.strictEqual(yield* logs.next, "Info: What others free is heard of again")
      yield* unlock(store, name, "me")
      yield* Fiber.join(hearing)
    }).pipe(Effect.scoped), 30_000)

  it.live("proves who asks by a password, and again when its token is forgotten", () =>
    Effect.gen(function*() {
      const { endpoint } = yield* etcdServer.server()
      for (
        const command of [
          ["user", "add", "root:secret"],
          ["user", "grant-role", "root", "root"],
          ["role", "add", "locks"],
          ["role", "grant-permission", "locks", "--prefix=true", "readwrite", "effect-dlm/"],
          ["user", "add", "dlm:p@ss/wörd"],
          ["user", "grant-role", "dlm", "locks"]
        ]
      ) yield* etcdServer.etcdctl(endpoint, ...command)
      yield* etcdServer.etcdctl(endpoint, "auth", "enable")
      const as = (password: string) =>
        NodeEtcdStore.layer({
          endpoints: [endpoint],
          credentials: { username: "dlm", password: Redacted.make(password) }
        })
      const [store, other] = yield* Effect.all([instance(as("p@ss/wörd")), instance(as("p@ss/wörd"))])
      const [name, next] = [freshName(), freshName()]
      yield* lock(store, name, "me")
      // To give a user a password, also the same one, makes its tokens invalid.
      const root = (yield* etcdServer.ask(endpoint, "/v3/auth/authenticate", { name: "root", password: "secret" })) as {
        readonly token: string
      }
      yield* etcdServer.ask(endpoint, "/v3/auth/user/changepw", { name: "dlm", password: "p@ss/wörd" }, root.token)
      assert.isTrue((yield* lock(store, name, "me")).answer)
      const frees = Effect.andThen(lock(other, next, "me"), unlock(other, next, "me"))
      yield* Effect.raceFirst(hears(store, next), Effect.forever(Effect.andThen(frees, Effect.sleep("100 millis"))))

      const wrong = yield* Effect.exit(Effect.scoped(Layer.build(as("guess-guess"))))
      const shown = Exit.isFailure(wrong) ? Cause.pretty(wrong.cause) : "no failure"
      assert.include(shown, "authentication failed, invalid user ID or password")
      assert.notInclude(shown, "guess-guess")
      assert.include(yield* failureOf(NodeEtcdStore.layer({ endpoints: [endpoint] })), "user name is empty")
      const denied = NodeEtcdStore.layer({
        endpoints: [endpoint],
        prefix: "elsewhere/",
        credentials: { username: "dlm", password: Redacted.make("p@ss/wörd") }
      })
      assert.include(yield* failureOf(denied), "permission denied")
      const host = endpoint.slice("http://".length)
      const configured = NodeEtcdStore.layerConfig({
        url: Config.Redacted("ETCD_URL"),
        timeout: Config.Duration("ETCD_TIMEOUT")
      }).pipe(Layer.provide(ConfigProvider.layer(ConfigProvider.fromUnknown({
        ETCD_URL: `etcd://dlm:p%40ss%2Fw%C3%B6rd@${host}`,
        ETCD_TIMEOUT: "3 seconds"
      }))))
      const byConfig = Context.get(yield* Layer.build(configured), Store.Store)
      assert.strictEqual((yield* read(byConfig, name)).answer?.owner, "me")
      const byUrl = yield* instance(
        NodeEtcdStore.layerUrl({ url: Redacted.make(`etcd://dlm:p%40ss%2Fw%C3%B6rd@${host}/effect-dlm`) })
      )
      assert.strictEqual((yield* read(byUrl, name)).answer?.owner, "me")
    }).pipe(Effect.scoped), 60_000)

  it.live("shows a certificate where etcd asks for one", () =>
    Effect.gen(function*() {
      const files = yield* certificates
      const { endpoint } = yield* etcdServer.server({
        secure: { ca: files.ca, cert: files.cert, key: files.key },
        args: [
          "--client-cert-auth",
          `--trusted-ca-file=${files.ca}`,
          `--cert-file=${files.cert}`,
          `--key-file=${files.key}`
        ]
      })
      const [ca, cert, key] = [files.ca, files.cert, files.key].map((file) => fs.readFileSync(file, "utf8"))
      const pem = ConfigProvider.layer(ConfigProvider.fromUnknown({ ETCD_CA: ca, ETCD_CERT: cert, ETCD_KEY: key }))
      const url = Redacted.make(`etcds://${endpoint.slice("https://".length)}`)
      const store = yield* instance(NodeEtcdStore.layerUrl({ url }).pipe(Layer.provide(pem)))
      assert.isTrue((yield* lock(store, freshName(), "me")).answer)
      assert.include(
        yield* failureOf(NodeEtcdStore.layer({ endpoints: [endpoint], tls: { ca } })),
        "cannot be reached"
      )
      assert.include(
        yield* failureOf(NodeEtcdStore.layer({ endpoints: [endpoint], tls: { cert, key: Redacted.make(key!) } })),
        "unable to verify the first certificate"
      )
    }).pipe(Effect.scoped))

  it.live("takes no URL that it does not understand, says how it is written, and does not show it", () =>
    Effect.gen(function*() {
      for (const url of ["etcd://", "redis://host", "etcd://me:%zz-secret@host", "etcd://me@host"]) {
        const layer = NodeEtcdStore.layerUrl({ url: Redacted.make(url) })
        const error = yield* Effect.flip(Effect.scoped(Layer.build(layer)))
        assert.instanceOf(error, StoreError.StoreUrlError)
        assert.include(error.message, "the url of the etcd store cannot be read. Write it as etcd://")
        assert.notInclude(JSON.stringify(error) + String(error.stack), "secret")
      }
    }))
})

/** A certificate authority, and a certificate by it for 127.0.0.1, good for both sides. */
const certificates = Effect.gen(function*() {
  const folder = yield* temporaryFolder("tls")
  const file = (name: string) => `${folder}/${name}`
  const openssl = (command: string) =>
    etcdServer.execute("openssl", command.split(" ").map((part) => part.startsWith("@") ? file(part.slice(1)) : part))
  fs.writeFileSync(file("ext"), "subjectAltName=IP:127.0.0.1\nextendedKeyUsage=serverAuth,clientAuth\n")
  const newKey = "-newkey ec -pkeyopt ec_paramgen_curve:prime256v1 -nodes"
  yield* openssl(`req -x509 ${newKey} -keyout @ca.key -out @ca.pem -subj /CN=ca`)
  yield* openssl(`req ${newKey} -keyout @key.pem -out @csr -subj /CN=test`)
  yield* openssl("x509 -req -in @csr -CA @ca.pem -CAkey @ca.key -CAcreateserial -extfile @ext -out @cert.pem")
  return { ca: file("ca.pem"), cert: file("cert.pem"), key: file("key.pem") }
})
