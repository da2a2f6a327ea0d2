/**
 * Programs in virtual time: each process is a machine with clocks of its own, and the order of all that could run at one
 * moment is drawn by the seed. Between the processes and a server in memory are the faults of the program.
 */
import { Context, Duration, Effect, Exit, Fiber, Layer, Scope } from "effect"
import { DlmError, Talker } from "effect-dlm"
import { Protocol } from "effect-dlm/protocol"
import { Identities, LockServer, Store } from "effect-dlm/server"
import { Programs } from "effect-dlm/testing"
import { SuspendAwareMillis } from "../../src/lib/monotonic.ts"
import * as Background from "../../src/transport/Background.ts"
import { Seeded } from "../support/random.ts"
import { type Machine, Simulator } from "../system/simulation/Simulator.ts"

/** After how long a server that died is given up, in milliseconds, as by `Talker.makeSocket`. */
const silence = 4_000

const failed = ({ Action, FileName }: Protocol.Request, phase: DlmError.TransportError["phase"]) =>
  Effect.fail(new DlmError.TransportError({ name: FileName, action: Action, phase }))

type Answer = (request: Protocol.Request) => Effect.Effect<Protocol.Response>

/** A server in memory, on a machine of its own. Nothing is left of it when it starts anew. */
class Server {
  private readonly sim: Simulator
  private readonly recorder: Programs.Recorder
  private machine!: Machine
  private handle!: Answer
  private wall = 1.7e12
  /** Who waits for an answer of it, as it is now. */
  private asking = new Set<() => void>()

  constructor(sim: Simulator, recorder: Programs.Recorder) {
    this.sim = sim
    this.recorder = recorder
    this.boot()
  }

  boot(): void {
    const { recorder, sim } = this
    const machine = this.machine = sim.machine("server", { rate: 1, wall: this.wall })
    const watched = Layer.effect(
      Store.Store,
      Effect.map(Store.Store, (store) => Programs.watchStore(store, recorder, () => sim.now))
    ).pipe(Layer.provide(Layer.fresh(Store.layerMemory)))
    const layer = LockServer.layer.pipe(Layer.provide([watched, Identities.layerNone]))
    const built = Effect.flatMap(Scope.make(), (scope) => Layer.buildWithScope(Layer.fresh(layer), scope))
    const server = machine.fork(Effect.map(built, (context) => Context.get(context, LockServer.LockServer)))
    this.handle = (request) => Effect.flatMap(Fiber.join(server), ({ handle }) => handle(request))
  }

  restart(): void {
    this.wall = this.machine.wallClock + 1
    this.machine.kill()
    this.recorder.note({ _tag: "Forgot" })
    const { asking } = this
    this.asking = new Set()
    this.sim.after(silence, () => asking.forEach((giveUp) => giveUp()))
    this.boot()
  }

  /**
   * Carries it out, and answers on the machine of the one who asks. If the server dies meanwhile, that is noticed by its
   * silence. What waits at the server when the one who asks dies is given up with its connection.
   */
  ask(
    request: Protocol.Request,
    latency: number,
    requests: Requests,
    answer: (response: Effect.Effect<Protocol.Response, DlmError.TransportError>) => void
  ): void {
    const giveUp = () => answer(failed(request, "AnswerTimeout"))
    this.sim.after(latency, () => {
      const { asking, machine } = this
      asking.add(giveUp)
      machine.enqueue(() => {
        const fiber = machine.fork(this.handle(request))
        const drop = () => machine.enqueue(() => fiber.interruptUnsafe())
        requests.arrived(drop)
        fiber.addObserver((exit) => {
          requests.answered(drop)
          if (Exit.isFailure(exit)) return
          asking.delete(giveUp)
          this.sim.after(latency, () => answer(exit))
        })
      })
    })
  }
}

/** The requests of a Talker that are under way. As it closes they fail, and so do all later ones. */
class Requests {
  private isClosed = false
  private isDead = false
  private readonly underWay = new Set<() => void>()
  private readonly atServer = new Set<() => void>()

  arrived(drop: () => void): void {
    if (this.isDead) return drop()
    this.atServer.add(drop)
  }

  answered(drop: () => void): void {
    this.atServer.delete(drop)
  }

  /** Its process is dead, and its connection. */
  die(): void {
    this.isDead = true
    this.atServer.forEach((drop) => drop())
  }

  begin(release: () => void): void {
    if (this.isClosed) return release()
    this.underWay.add(release)
  }

  end(release: () => void): void {
    this.underWay.delete(release)
  }

  close(): void {
    this.isClosed = true
    this.underWay.forEach((release) => release())
  }
}

const talkerTo = (
  server: Server,
  machine: Machine,
  { extensions, latency }: Programs.Program,
  requests = new Requests()
): Talker.Talker["Service"] => ({
  ...(extensions ? { features: Effect.succeed(new Set(Protocol.features)) } : {}),
  talk: (request) =>
    Effect.callback((resume) => {
      const release = () => resume(failed(request, "Released"))
      requests.begin(release)
      const sent = extensions && (request.Action !== "Version") ? { ...request, Seq: "" } : request
      server.ask(sent, latency, requests, (response) =>
        machine.enqueue(() => {
          requests.end(release)
          resume(response)
        }))
      return Effect.sync(() => requests.end(release))
    })
})

/** A process: a machine, and the scope of its Talker. */
interface Process extends Programs.Runner {
  readonly machine: Machine
  readonly requests: Requests
}

const openProcess = (
  machine: Machine,
  { hasBackground, hasWallClockOnly }: { readonly hasBackground: boolean; readonly hasWallClockOnly: boolean },
  talker: (requests: Requests) => Talker.Talker["Service"],
  wrap: (talker: Talker.Talker["Service"]) => Talker.Talker["Service"]
): Effect.Effect<Process> =>
  Effect.gen(function*() {
    const fibers = new Programs.Fibers()
    const boottime = hasWallClockOnly ? undefined : () => machine.boottime
    const context = fibers.countedIn(Context.add(machine.context, SuspendAwareMillis, boottime))
    const requests = new Requests()
    const scope = yield* Scope.make()
    yield* Scope.addFinalizer(scope, Effect.sync(() => requests.close()))
    const background = Effect.provideContext(Background.make, Context.add(context, Scope.Scope, scope))
    const own = hasBackground ? { ...talker(requests), background: yield* background } : talker(requests)
    return {
      machine,
      requests,
      context: Context.add(context, Talker.Talker, wrap(own)),
      block: (millis) =>
        Effect.uninterruptible(
          Effect.callback<void>((resume) => machine.standStill(millis, () => resume(Effect.void)))
        ),
      close: Effect.suspend(() => Fiber.join(machine.fork(Scope.close(scope, Exit.void)))),
      leftovers: Effect.sync(() => [
        ...fibers.live === 0 ? [] : [`${fibers.live} fibers`],
        ...machine.sleeping.size === 0 ? [] : [`${machine.sleeping.size} timers`]
      ])
    }
  })

class Simulated implements Programs.Opened {
  readonly processes: ReadonlyArray<Process>
  private readonly sim: Simulator
  private readonly server: Server
  private readonly observer: Talker.Talker["Service"]
  private readonly faults: Programs.Faults

  constructor(
    sim: Simulator,
    server: Server,
    observer: Talker.Talker["Service"],
    faults: Programs.Faults,
    processes: ReadonlyArray<Process>
  ) {
    this.sim = sim
    this.server = server
    this.observer = observer
    this.faults = faults
    this.processes = processes
  }

  strike(fault: Programs.Fault): Effect.Effect<void> {
    return Effect.sync(() => {
      const machine = this.processes[fault.process ?? 0]?.machine
      switch (fault.kind) {
        case "restart":
          return this.server.restart()
        case "suspend":
          return machine?.suspend(fault.for)
        case "jump":
          return machine?.setWallClock(fault.back === true ? -fault.for : fault.for)
        case "crash":
          machine?.kill()
          return this.processes[fault.process ?? 0]?.requests.die()
        default:
          this.faults.begin(fault)
          this.sim.after(fault.for, () => this.faults.end(fault))
      }
    })
  }

  isFree(name: string, permits?: number): Effect.Effect<boolean> {
    return Programs.isFree(this.observer, name, permits)
  }
}

/**
 * Runs a program in virtual time, at once. The same program does the same again. A Talker may have a background, which its
 * processes wait for as they close, or none: by default that is the seed's.
 */
export const simulate = (program: Programs.Program, hasBackground = program.seed % 2 === 0): Programs.Trace => {
  const sim = new Simulator(new Seeded(program.seed))
  const observing = sim.machine("observer", { rate: 1, wall: 1.7e12 })
  const open = (program: Programs.Program, recorder: Programs.Recorder) =>
    Effect.gen(function*() {
      const faults = new Programs.Faults(program)
      const server = new Server(sim, recorder)
      const processes = yield* Effect.forEach(program.processes, ({ hasWallClockOnly, skew = 0 }, i) => {
        const machine = sim.machine(`process ${i}`, { rate: 1, wall: 1.7e12 + skew })
        const wrap = (talker: Talker.Talker["Service"]) =>
          Programs.watchTalker(Programs.faulty(talker, faults, i), recorder, i)
        const talker = (requests: Requests) => talkerTo(server, machine, program, requests)
        return openProcess(machine, { hasBackground, hasWallClockOnly: hasWallClockOnly === true }, talker, wrap)
      })
      return new Simulated(sim, server, talkerTo(server, observing, program), faults, processes)
    })
  const world: Programs.World = {
    now: () => sim.now,
    patience: Duration.toMillis("2 minutes"),
    prefix: "",
    slack: 5,
    open
  }
  const fiber = observing.fork(Programs.run(program, world))
  fiber.addObserver(() => sim.stop())
  sim.run(3_600_000)
  const exit = fiber.pollUnsafe()
  if (exit === undefined) throw new Error(`the program of seed ${program.seed} hangs`)
  if (Exit.isFailure(exit)) throw new Error(`the program of seed ${program.seed} cannot be run: ${String(exit.cause)}`)
  return exit.value
}
