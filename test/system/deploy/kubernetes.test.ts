/**
 * deploy/kubernetes.yaml, against the schemas and the types of Kubernetes: the schemas know how values are written, but let any
 * key be there, and the types know which keys there are.
 */
import { assert, describe, it } from "@effect/vitest"
import { Effect } from "effect"
import { Deployment } from "kubernetes-models/apps/v1/Deployment"
import { NetworkPolicy } from "kubernetes-models/networking.k8s.io/v1/NetworkPolicy"
import { PodDisruptionBudget } from "kubernetes-models/policy/v1/PodDisruptionBudget"
import { Secret } from "kubernetes-models/v1/Secret"
import { Service } from "kubernetes-models/v1/Service"
import { spawnSync } from "node:child_process"
import * as fs from "node:fs"
import * as path from "node:path"
import { parseAllDocuments } from "yaml"
import { project } from "../../docs/blocks.ts"
import { temporaryFolder } from "../../support/programs.ts"
import { overTls, read } from "./files.ts"

const text = read("kubernetes.yaml")

const models = {
  Secret: { Model: Secret, version: "v1", module: "v1/Secret" },
  Deployment: { Model: Deployment, version: "apps/v1", module: "apps/v1/Deployment" },
  Service: { Model: Service, version: "v1", module: "v1/Service" },
  PodDisruptionBudget: { Model: PodDisruptionBudget, version: "policy/v1", module: "policy/v1/PodDisruptionBudget" },
  NetworkPolicy: {
    Model: NetworkPolicy,
    version: "networking.k8s.io/v1",
    module: "networking.k8s.io/v1/NetworkPolicy"
  }
}
type Kind = keyof typeof models

const parsed = (yaml: string): ReadonlyArray<{ readonly apiVersion: string; readonly kind: Kind }> =>
  parseAllDocuments(yaml).map((document) => {
    if (document.errors.length > 0) throw document.errors[0]
    return document.toJS()
  })

/** What the types say of the documents: of keys that are not there, among others. */
const typeProblems = Effect.fnUntraced(function*(yaml: string) {
  const folder = yield* temporaryFolder("kubernetes")
  fs.symlinkSync(path.join(project, "node_modules"), path.join(folder, "node_modules"))
  const code = parsed(yaml).map((document, i) =>
    `import type { I${document.kind} as I${i} } from "kubernetes-models/${models[document.kind].module}"\n` +
    `export const document${i}: I${i} = ${JSON.stringify(document, null, 2)}\n`
  )
  fs.writeFileSync(path.join(folder, "documents.ts"), code.join(""))
  const compilerOptions = { module: "NodeNext", strict: true, noEmit: true, skipLibCheck: true, types: [] }
  fs.writeFileSync(path.join(folder, "tsconfig.json"), JSON.stringify({ compilerOptions, include: ["documents.ts"] }))
  const tsc = path.join(project, "node_modules/.bin/tsc")
  return spawnSync(tsc, ["-p", folder, "--pretty", "false"], { encoding: "utf8" }).stdout
})

/** All that is wrong with the documents, by schemas and types. */
const problemsOf = Effect.fnUntraced(function*(yaml: string) {
  const bySchema = parsed(yaml).flatMap((document) => {
    const { Model, version } = models[document.kind]
    if (document.apiVersion !== version) return [`${document.kind} is of ${document.apiVersion}`]
    try {
      new Model(document as never).validate()
      return []
    } catch (error) {
      return [String(error)]
    }
  })
  return [...bySchema, yield* typeProblems(yaml)].join("\n")
}, Effect.scoped)

const replaced = (from: string, to: string) => {
  assert.include(text, from)
  return text.replace(from, to)
}

describe("deploy/kubernetes.yaml", () => {
  it.live("is what Kubernetes takes", () =>
    Effect.gen(function*() {
      assert.sameMembers(parsed(text).map(({ kind }) => kind), Object.keys(models))
      assert.strictEqual(yield* problemsOf(text), "")
    }))

  it.live("is so with TLS, by the lines that are there as comments", () =>
    Effect.gen(function*() {
      const yaml = overTls(text)
      const deployment = new Deployment(parsed(yaml).find(({ kind }) => kind === "Deployment") as never)
      const { containers, volumes } = deployment.spec!.template.spec!
      assert.deepStrictEqual(volumes?.map(({ name }) => name), containers[0]!.volumeMounts?.map(({ name }) => name))
      assert.include(containers[0]!.env!.map(({ name }) => name), "DLM_TLS_KEY")
      assert.strictEqual(yield* problemsOf(yaml), "")
    }))

  for (
    const [what, from, to, problem] of [
      ["a misspelt key", "livenessProbe:", "livenessProb:", /"livenessProb"' does not exist/],
      ["a key in another place", "replicas: 2", "terminationGracePeriodSeconds: 15", /does not exist in type/],
      ["a word for a number", "replicas: 2", "replicas: two", /must be integer/],
      ["an amount that is none", "memory: 512Mi", "memory: much", /must match format "quantity"/],
      ["a key twice", "targetPort: locks", "name: other", /Map keys must be unique/],
      ["a port that is missing", "port: 37373, ", "", /must have required property port/]
    ] as const
  ) {
    it.live(`would be refused with ${what}`, () =>
      Effect.map(
        problemsOf(replaced(from, to)).pipe(Effect.catchDefect((defect) => Effect.succeed(String(defect)))),
        (problems) => assert.match(problems, problem)
      ))
  }
})

describe("the objects of deploy/kubernetes.yaml", () => {
  const documents = parsed(text)
  const of = <K extends Kind>(kind: K) =>
    documents.find((document) => document.kind === kind) as unknown as InstanceType<(typeof models)[K]["Model"]>
  const deployment = of("Deployment").spec!
  const pod = deployment.template.spec!
  const container = pod.containers[0]!

  it("mean the same pods", () => {
    const labels = deployment.template.metadata!.labels
    assert.deepStrictEqual(deployment.selector.matchLabels, labels)
    assert.deepStrictEqual(of("Service").spec!.selector, labels)
    assert.deepStrictEqual(of("PodDisruptionBudget").spec!.selector!.matchLabels, labels)
    assert.deepStrictEqual(of("NetworkPolicy").spec!.podSelector?.matchLabels, labels)
    assert.deepStrictEqual(pod.topologySpreadConstraints![0]!.labelSelector!.matchLabels, labels)
    assert.strictEqual(container.envFrom![0]!.secretRef!.name, of("Secret").metadata!.name)
  })

  it("mean ports that are there, and those that dlm listens on", () => {
    const ports = new Map(container.ports!.map(({ containerPort, name }) => [name, containerPort]))
    assert.deepStrictEqual(ports.get("locks"), of("Service").spec!.ports![0]!.port)
    const probes = [container.livenessProbe, container.readinessProbe, container.startupProbe]
    for (const probe of probes) assert.strictEqual(probe!.httpGet!.port, "http")
    assert.strictEqual(String(ports.get("http")), container.env!.find(({ name }) => name === "DLM_HTTP")!.value)
    assert.strictEqual(of("Service").spec!.ports![0]!.targetPort, "locks")
    assert.strictEqual(of("NetworkPolicy").spec!.ingress![0]!.ports![0]!.port, "locks")
  })

  it("keep one server while another is replaced", () => {
    assert.isAbove(deployment.replicas!, of("PodDisruptionBudget").spec!.minAvailable as number)
    assert.strictEqual(deployment.strategy!.rollingUpdate!.maxUnavailable, 0)
    assert.isAbove(pod.terminationGracePeriodSeconds!, 5)
  })

  it("set no variable of dlm by the name of a Service", () => {
    assert.isFalse(pod.enableServiceLinks)
    const variable = of("Service").metadata!.name!.toUpperCase().replaceAll("-", "_")
    assert.notMatch(variable, /^DLM/)
  })
})
