/**
 * Random programs over real sockets and in real time: processes with a Talker each, a proxy that fails, `dlm serve`.
 *
 * What the simulated network hides is seen here. The store is not, nor can processes stand still: who is inside is what the
 * programs themselves say.
 */
import { assert, describe, it } from "@effect/vitest"
import { Effect, Exit, Logger, Schedule, Scope } from "effect"
import { Programs } from "effect-dlm/testing"
import * as Reach from "../../programs/reach.ts"
import { simulate } from "../../programs/simulated.ts"
import { serve } from "../../support/childProcesses.ts"
import { talker } from "../../support/peers.ts"
import { isLong, report } from "../../support/report.ts"
import { proxy } from "../faults/proxy.ts"

const programs = isLong ? 2_000 : 200
const concurrency = 40

/** What is not judged: the proxy is a fault that no program names, and who held what is not seen. */
const unseen: ReadonlySet<Programs.Rule> = new Set(["failure", "release", "order", "evidence"])

/** What a program can do where time is real: shorter times to live, and no clock that is not the machine's. */
const real = (program: Programs.Program): Programs.Program => ({
  ...program,
  processes: program.processes.map((process) => ({
    ...process,
    lockers: process.lockers.map((locker) => ({ ...locker, ttl: Math.min(4_000, Math.max(1_500, locker.ttl)) }))
  })),
  faults: program.faults.filter(({ kind }) => kind !== "restart" && kind !== "suspend" && kind !== "jump")
})

/** Programs that come to their end by themselves soon, and show nothing in virtual time. */
const chosen = (): ReadonlyArray<Programs.Program> => {
  const found: Array<Programs.Program> = []
  for (let seed = 100_000; found.length < programs; seed++) {
    const program = real(Programs.generate(seed))
    const trace = simulate(program)
    const last = trace.events.findLast(({ _tag }) => _tag === "Ended")?.at ?? 0
    if (last < 10_000 && Programs.check(trace).length === 0) found.push(program)
  }
  return found
}

const network = { ttl: 4_000, patience: 4_000 }

/** Whether no connection is open, but for those that the network has not noticed to be closed at once. */
const allClosed = (open: () => number) =>
  Effect.repeat(Effect.sync(() => open() === 0), {
    until: (closed) => closed,
    schedule: Schedule.spaced("50 millis"),
    times: 40
  })

describe("random programs over sockets", () => {
  it.live(`show no promise broken, ${programs} of them`, () =>
    Effect.gen(function*() {
      const server = yield* Effect.acquireRelease(serve(), ({ kill }) => kill)
      const { open, ports } = yield* proxy({ ...network, gates: 4, servers: () => [server.port], likelihood: 0.01 })
      const reach = Reach.empty()
      const broken = yield* Effect.forEach(chosen(), (program) =>
        Effect.gen(function*() {
          const world = yield* Programs.make({
            talker: Effect.orDie(talker({ host: "127.0.0.1", port: ports[program.seed % ports.length]! })),
            // What the proxy loses says nothing of what is left.
            observer: Effect.orDie(talker({ host: "127.0.0.1", port: server.port })),
            patience: "30 seconds",
            slack: "1 second",
            // A late duplicate of the proxy's.
            repeats: "10 seconds",
            prefix: `${program.seed}/`
          })
          const trace = yield* Effect.provide(Programs.run(program, world), Logger.layer([]))
          Reach.count(reach, trace)
          return Programs.check(trace)
            .filter((violation) => !unseen.has(violation.rule))
            .map(({ rule, what }) => `seed ${program.seed}: ${rule}: ${what}\n${Programs.show(trace)}`)
        }), { concurrency })
      report("programs-sockets", { section: "Real processes", file: import.meta.filename }, [{
        what: "Programs over sockets, through a proxy that fails: programs; operations; promises seen broken",
        figure: `${reach.programs}; ${
          Object.values(reach.operations).reduce((sum, times) => sum + times, 0)
        }; ${broken.flat().length}`,
        goal: "0 broken"
      }])
      assert.deepStrictEqual(broken.flat(), [])
      assert.isTrue(yield* allClosed(open), "connections are left when all Talkers are closed")
    }), { timeout: 60_000 + programs * 2_000 })

  it.live("count the connections of a Talker until it is closed", () =>
    Effect.gen(function*() {
      const server = yield* Effect.acquireRelease(serve(), ({ kill }) => kill)
      const { open, ports } = yield* proxy({ ...network, gates: 1, servers: () => [server.port], likelihood: 0 })
      const scope = yield* Scope.make()
      const opened = yield* Scope.provide(talker({ host: "127.0.0.1", port: ports[0]! }), scope)
      assert.isTrue(yield* Programs.isFree(opened, "a"))
      assert.isFalse(yield* allClosed(open))
      yield* Scope.close(scope, Exit.void)
      assert.isTrue(yield* allClosed(open))
    }))
})
