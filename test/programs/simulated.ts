/**
 * Programs in virtual time: each process is a machine with clocks of its own, and the order of all that could run at one
 * moment is drawn by the seed. Between the processes and a server in memory are the faults of the program.
 */
import { Context, Duration, Effect, Exit, Fiber, Layer, Scope } from "effect"
import { Talker } from "effect-dlm"
import { Protocol } from "effect-dlm/protocol"
import { Identities, LockServer, Store } from "effect-dlm/server"
import { Programs } from "effect-dlm/testing"
import { SuspendAwareMillis } from "../../src/lib/monotonic.ts"
import { Seeded } from "../support/random.ts"
import { type Machine, Simulator } from "../system/simulation/Simulator.ts"

type Answer = (request: Protocol.Request) => Effect.Effect<Protocol.Response>

/** A server in memory, on a machine of its own. Nothing is left of it when it starts anew. */
class Server {
  private readonly sim: Simulator
  private readonly recorder: Programs.Recorder
  private machine!: Machine
  private handle!: Answer
  private wall = 1.7e12

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
    this.boot()
  }

  /** Carries it out, and answers on the machine of the one who asks, unless the server dies meanwhile. */
  ask(request: Protocol.Request, latency: number, answer: (response: Protocol.Response) => void): void {
    this.sim.after(latency, () => {
      const { machine } = this
      machine.enqueue(() => {
        machine.fork(this.handle(request)).addObserver((exit) => {
          if (Exit.isSuccess(exit)) this.sim.after(latency, () => answer(exit.value))
        })
      })
    })
  }
}

const talkerTo = (
  server: Server,
  machine: Machine,
  { extensions, latency }: Programs.Program
): Talker.Talker["Service"] => ({
  ...(extensions ? { features: Effect.succeed(new Set(Protocol.features)) } : {}),
  talk: (request) =>
    Effect.callback((resume) => {
      const sent = extensions && (request.Action !== "Version") ? { ...request, Seq: "" } : request
      server.ask(sent, latency, (response) => machine.enqueue(() => resume(Effect.succeed(response))))
    })
})

class Simulated implements Programs.Opened {
  readonly processes: ReadonlyArray<Programs.Runner>
  readonly machines: ReadonlyArray<Machine>
  private readonly sim: Simulator
  private readonly server: Server
  private readonly observer: Talker.Talker["Service"]
  private readonly faults: Programs.Faults

  constructor(program: Programs.Program, recorder: Programs.Recorder, sim: Simulator, observing: Machine) {
    this.sim = sim
    this.faults = new Programs.Faults(program)
    this.server = new Server(sim, recorder)
    this.observer = talkerTo(this.server, observing, program)
    this.machines = program.processes.map((_, i) => sim.machine(`process ${i}`, { rate: 1, wall: 1.7e12 }))
    this.processes = this.machines.map((machine, i) => {
      const talker = Programs.faulty(talkerTo(this.server, machine, program), this.faults, i)
      return {
        context: machine.context.pipe(
          Context.add(Talker.Talker, Programs.watchTalker(talker, recorder, i)),
          Context.add(SuspendAwareMillis, () => machine.boottime)
        ),
        block: (millis) =>
          Effect.uninterruptible(
            Effect.callback<void>((resume) => machine.standStill(millis, () => resume(Effect.void)))
          )
      }
    })
  }

  strike(fault: Programs.Fault): Effect.Effect<void> {
    return Effect.sync(() => {
      const machine = this.machines[fault.process ?? 0]
      switch (fault.kind) {
        case "restart":
          return this.server.restart()
        case "suspend":
          return machine?.suspend(fault.for)
        case "jump":
          return machine?.setWallClock(fault.back === true ? -fault.for : fault.for)
        default:
          this.faults.begin(fault)
          this.sim.after(fault.for, () => this.faults.end(fault))
      }
    })
  }

  readonly close = Effect.void

  isFree(name: string): Effect.Effect<boolean> {
    return Programs.isFree(this.observer, name)
  }

  readonly leftovers = Effect.sync(() =>
    this.machines.filter(({ sleeping }) => sleeping.size > 0).map(({ name, sleeping }) =>
      `${name} has ${sleeping.size} timers`
    )
  )
}

/** Runs a program in virtual time, at once. The same program does the same again. */
export const simulate = (program: Programs.Program): Programs.Trace => {
  const sim = new Simulator(new Seeded(program.seed))
  const observing = sim.machine("observer", { rate: 1, wall: 1.7e12 })
  const world: Programs.World = {
    now: () => sim.now,
    patience: Duration.toMillis("2 minutes"),
    prefix: "",
    slack: 5,
    settles: 25_000,
    open: (program, recorder) => Effect.sync(() => new Simulated(program, recorder, sim, observing))
  }
  const fiber = observing.fork(Programs.run(program, world))
  fiber.addObserver(() => sim.stop())
  sim.run(3_600_000)
  const exit = fiber.pollUnsafe()
  if (exit === undefined) throw new Error(`the program of seed ${program.seed} hangs`)
  if (Exit.isFailure(exit)) throw new Error(`the program of seed ${program.seed} cannot be run: ${String(exit.cause)}`)
  return exit.value
}
