/**
 * docs/operations: what the dashboard and the alerts ask for is what a server and a program show at /metrics.
 */
import { assert, describe, it } from "@effect/vitest"
import { Context, Effect, Fiber, Layer, Logger, Metric, Option } from "effect"
import { Lease, Locker, Metrics } from "effect-dlm"
import { NodeOperations, NodeTalker } from "effect-dlm/node"
import { LockServer, Metrics as ServerMetrics } from "effect-dlm/server"
import { HttpServer } from "effect/http"
import * as fs from "node:fs"
import * as path from "node:path"
import { parse } from "yaml"
import { connect, exchange, readToEnd, serve } from "../../support/tcp.ts"
import { serve as serveDlm } from "../cli/processes.ts"

const project = path.join(import.meta.dirname, "..", "..", "..")
const read = (file: string) => fs.readFileSync(path.join(project, file), "utf8")

interface Target {
  readonly expr: string
  readonly legendFormat: string
  readonly datasource: { readonly type: string; readonly uid: string }
}
interface Panel {
  readonly id: number
  readonly type: string
  readonly title: string
  readonly description?: string
  readonly datasource?: Target["datasource"]
  readonly gridPos: { readonly x: number; readonly y: number; readonly w: number; readonly h: number }
  readonly fieldConfig?: { readonly defaults: { readonly unit?: string } }
  readonly targets?: ReadonlyArray<Target>
}
interface Dashboard {
  readonly title: string
  readonly uid: string
  readonly schemaVersion: number
  readonly panels: ReadonlyArray<Panel>
  readonly templating: {
    readonly list: ReadonlyArray<{ readonly name: string; readonly type: string; readonly definition?: string }>
  }
}
interface Rule {
  readonly alert: string
  readonly expr: string
  readonly for?: string
  readonly labels: { readonly severity: string }
  readonly annotations: { readonly summary: string; readonly description: string; readonly runbook_url: string }
}

const dashboard = JSON.parse(read("docs/operations/grafana.json")) as Dashboard
const alerts = parse(read("docs/operations/alerts.yaml")) as {
  readonly groups: ReadonlyArray<{ readonly name: string; readonly rules: ReadonlyArray<Rule> }>
}
const panels = dashboard.panels.filter(({ type }) => type !== "row")
const rules = alerts.groups.flatMap((group) => group.rules)

/** What is shown: of each metric its labels, and of each of them its values. */
type Shown = Map<string, Map<string, Set<string>>>

const shownIn = (text: string): Shown => {
  const shown: Shown = new Map()
  for (const line of text.split("\n")) {
    if (line === "" || line.startsWith("#")) continue
    const [, name, labels = ""] = /^(\w+)(?:\{(.*)\})? \S+$/.exec(line) ?? assert.fail(`no sample: ${line}`)
    const known = shown.get(name!) ?? new Map<string, Set<string>>()
    shown.set(name!, known)
    for (const [, label, value] of labels.matchAll(/(\w+)="([^"]*)"/g)) {
      known.set(label!, (known.get(label!) ?? new Set()).add(value!))
    }
  }
  return shown
}

const scrape = (port: number) =>
  Effect.promise(async () => shownIn(await (await fetch(`http://127.0.0.1:${port}/metrics`)).text()))

const portOf = ({ address }: HttpServer.HttpServer["Service"]) =>
  address._tag === "UnixPathAddress" ? assert.fail("no port") : address.port

/** What rarely happens is noted once by the metric itself, with all that it may say. */
const rare = Effect.all([
  ...(["Granted", "Taken", "Timeout", "Failed", "Interrupted"] as const).map((outcome) =>
    Metric.update(Metrics.acquisitions(outcome), 0)
  ),
  ...(["Expired", "TakenAway", "MaxHold", "Released", "Revoked"] as const).map((reason) =>
    Metric.update(Metrics.lostLeases(reason), 0)
  ),
  ...(["Confirmed", "Failed"] as const).map((outcome) => Metric.update(Metrics.renewals(outcome), 0)),
  ...(["revoked", "refused"] as const).map((outcome) => Metric.update(ServerMetrics.revocations(outcome), 0)),
  Metric.update(ServerMetrics.timedOutConnections, 0),
  Metric.update(ServerMetrics.failedProofs, 0),
  Metric.update(ServerMetrics.storeFailures, 0)
], { discard: true })

/** A server and a program in this process, of which something was asked, and what they show then. */
const shownHere = Effect.gen(function*() {
  const { lockServer, port } = yield* serve({ limits: { maxConnections: 2 } })
  const context = yield* Layer.build(
    Layer.mergeAll(NodeOperations.layer({ port: 0 }), NodeTalker.layer({ port })).pipe(
      Layer.provide(Layer.succeed(LockServer.LockServer, lockServer))
    )
  )
  yield* Effect.gen(function*() {
    yield* Lease.withLock(Effect.void, "a")
    const locker = yield* Locker.make("a")
    yield* locker.lock
    assert.isTrue(Option.isNone(yield* Lease.withLockIfAvailable(Effect.void, "a", { group: "orders" })))
    const waiting = yield* Effect.forkChild(Lease.withLock(Effect.void, "a", { group: "orders" }), {
      startImmediately: true
    })
    yield* locker.unlock
    yield* Fiber.join(waiting)
    // One connection is the Talker's; another is taken, and one more is closed.
    yield* connect(port)
    yield* Effect.flatMap(connect(port), readToEnd)
  }).pipe(Effect.scoped, Effect.provideContext(context))
  yield* Effect.repeat(exchange(port, "no line\n"), { until: (answer) => answer !== "" })
  yield* rare
  return yield* scrape(portOf(Context.get(context, HttpServer.HttpServer)))
}).pipe(Effect.scoped, Effect.provide(Logger.layer([])))

/** Without what Grafana and Prometheus put in the place of variables. */
const plain = (expr: string): string => expr.replaceAll(/\$__\w+/g, "5m")

/** A selector: a metric, and what its labels must be. */
const selectorsOf = (expr: string) =>
  Array.from(plain(expr).matchAll(/\b(dlm_\w+|up)\b(?:\{([^}]*)\})?/g), ([, metric, matchers = ""]) => ({
    metric: metric!,
    matchers: Array.from(matchers.matchAll(/(\w+)(=~|!=|!~|=)"([^"]*)"/g), ([, label, how, value]) => ({
      label: label!,
      values: how === "=~" ? value!.split("|") : [value!]
    }))
  }))

const groupedBy = (expr: string): ReadonlyArray<string> =>
  Array.from(expr.matchAll(/\bby \(([^)]*)\)/g)).flatMap(([, labels]) => labels!.split(",").map((one) => one.trim()))

/** What Prometheus adds to all that it scrapes. */
const ofPrometheus = ["job", "instance"]

/** What an expression asks for that is not shown. */
const missingIn = (expr: string, shown: Shown): ReadonlyArray<string> =>
  selectorsOf(expr).flatMap(({ matchers, metric }) => {
    if (metric === "up") return []
    const labels = shown.get(metric)
    if (labels === undefined) return [metric]
    const missing = matchers.flatMap(({ label, values }) =>
      ofPrometheus.includes(label)
        ? []
        : values.filter((value) => labels.get(label)?.has(value) !== true).map((value) =>
          `${metric} ${label}="${value}"`
        )
    )
    const by = groupedBy(expr).filter((label) => !ofPrometheus.includes(label) && !labels.has(label))
    return missing.concat(by.map((label) => `${metric} by ${label}`))
  })

const anchors = new Set(
  Array.from(
    read("docs/OPERATIONS.md").matchAll(/^###? (\S.*)$/gm),
    ([, heading]) => heading!.toLowerCase().replaceAll(" ", "-")
  )
)

describe("docs/operations", () => {
  it.live("asks for what a server and a program show, and for all of it", () =>
    Effect.gen(function*() {
      const shown = yield* shownHere
      const exprs = [
        ...panels.flatMap(({ targets }) => targets!.map(({ expr }) => expr)),
        ...rules.map(({ expr }) => expr)
      ]
      assert.isAbove(exprs.length, 30)
      for (const expr of exprs) {
        assert.isAbove(selectorsOf(expr).length, 0, expr)
        assert.deepStrictEqual(missingIn(expr, shown), [], expr)
      }
      const asked = new Set(exprs.flatMap((expr) => selectorsOf(expr).map(({ metric }) => metric)))
      const families = new Set(
        Array.from(shown.keys(), (name) => name.replace(/_seconds_(?:bucket|sum|count)$/, "_seconds_bucket"))
      )
      assert.deepStrictEqual([...families].filter((name) => name.startsWith("dlm_") && !asked.has(name)), [])
      // What is told apart is: a group of the user's, and none.
      assert.deepStrictEqual([...shown.get("dlm_lease_wait_seconds_count")!.get("group")!], ["orders"])
    }), 60_000)

  it.live("of which `dlm serve --http` shows the server's, by the same names and labels", () =>
    Effect.gen(function*() {
      const here = yield* shownHere
      const server = yield* serveDlm("--http", "0")
      const [, http] = yield* server.process.prints(/"http":"127\.0\.0\.1:(\d+)"/)
      yield* Effect.flatMap(server.locker("a", "me"), ({ lock }) => lock)
      const shown = yield* scrape(Number(http))
      assert.includeMembers([...shown.keys()], ["dlm_server_requests_total", "dlm_server_connections"])
      for (const [name, labels] of shown) {
        assert.deepStrictEqual([...labels.keys()], [...here.get(name)?.keys() ?? []], name)
      }
    }).pipe(Effect.scoped), 60_000)

  it("has a dashboard of which each panel says what it shows, in what unit, of a source that is chosen", () => {
    const variables = dashboard.templating.list
    assert.deepStrictEqual(variables.map(({ name, type }) => [name, type]), [
      ["datasource", "datasource"],
      ["job", "query"],
      ["instance", "query"]
    ])
    assert.isAtLeast(dashboard.schemaVersion, 39)
    const ids = dashboard.panels.map(({ id }) => id)
    assert.strictEqual(new Set(ids).size, ids.length)
    const titles = panels.map(({ title }) => title)
    assert.strictEqual(new Set(titles).size, titles.length)
    const source = { type: "prometheus", uid: "${datasource}" }
    for (const { datasource, description, fieldConfig, gridPos: { w, x }, targets, title } of panels) {
      assert.isNotEmpty(title)
      assert.isNotEmpty(description, title)
      assert.isNotEmpty(fieldConfig?.defaults.unit, title)
      assert.deepStrictEqual(datasource, source, title)
      assert.isAtMost(x + w, 24, title)
      assert.isNotEmpty(targets, title)
      for (const target of targets!) {
        assert.deepStrictEqual(target.datasource, source, title)
        const legend = Array.from(target.legendFormat.matchAll(/\{\{(\w+)\}\}/g), ([, label]) => label!)
        assert.includeMembers([...groupedBy(target.expr)], legend, title)
        // Else a choice of the reader's would change nothing.
        for (const { matchers } of selectorsOf(target.expr)) {
          assert.includeMembers(matchers.map(({ label }) => label), ["job", "instance"], title)
        }
        assert.deepStrictEqual(
          Array.from(target.expr.matchAll(/\$(\w+)/g), ([, name]) => name!).filter((name) =>
            !name.startsWith("__") && !variables.some((variable) => variable.name === name)
          ),
          [],
          title
        )
      }
    }
    for (const one of panels) {
      for (const other of panels) {
        const [a, b] = [one.gridPos, other.gridPos]
        const isApart = a.x + a.w <= b.x || b.x + b.w <= a.x || a.y + a.h <= b.y || b.y + b.h <= a.y
        assert.isTrue(one === other || isApart, `${one.title} lies over ${other.title}`)
      }
    }
  })

  it("has alerts that say what is wrong and what to do, with more about each in docs/OPERATIONS.md", () => {
    const names = rules.map(({ alert }) => alert)
    assert.strictEqual(new Set(names).size, names.length)
    for (const { alert, annotations, expr, labels } of rules) {
      assert.match(alert, /^Dlm[A-Za-z]+$/)
      assert.include(["warning", "critical"], labels.severity, alert)
      assert.isNotEmpty(annotations.summary, alert)
      assert.isNotEmpty(annotations.description, alert)
      const [page, anchor] = annotations.runbook_url.split("#")
      assert.deepStrictEqual([page, anchor], ["docs/OPERATIONS.md", alert.toLowerCase()])
      assert.isTrue(anchors.has(anchor!), `${alert} is not in docs/OPERATIONS.md`)
      const told = Array.from(`${annotations.summary} ${annotations.description}`.matchAll(/\$labels\.(\w+)/g))
      const known = expr.startsWith("up") ? ofPrometheus : groupedBy(expr)
      for (const [, label] of told) assert.include(known, label, alert)
    }
    const described = Array.from(read("docs/OPERATIONS.md").matchAll(/^### (Dlm\w+)$/gm), ([, name]) => name!)
    assert.deepStrictEqual(described, names)
  })
})
