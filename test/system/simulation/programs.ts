/**
 * What the clients do: programs with leases, and plain requests, as users
 * write them.
 */
import { Duration, Effect, Exit, Layer, Result } from "effect"
import { Lease, Locker, Talker } from "effect-dlm"
import type { Protocol } from "effect-dlm/protocol"
import type { History } from "../../support/history/History.ts"
import type { Seeded } from "../../support/random.ts"
import type { Network } from "./Network.ts"
import type { Resource } from "./Resource.ts"
import type { Machine } from "./Simulator.ts"

export interface World {
  readonly history: History
  readonly network: Network
  readonly resource: Resource
  readonly random: Seeded
  readonly names: ReadonlyArray<string>
  /** Times to live, in milliseconds. */
  readonly ttls: ReadonlyArray<number>
  /** Whether enough was asked, in all or of a name. */
  readonly enough: (name?: string) => boolean
  /** Whether all faults are over, and their consequences too. */
  readonly calm: () => boolean
  /** How long what the server does by itself may take, in milliseconds. */
  readonly settles: number
  readonly violate: (what: string) => void
}

const Held = Lease.tag("simulated")

/** The Talker over the network, each of whose requests is written down. */
export const layerTalker = ({ history, network }: World, machine: Machine): Layer.Layer<Talker.Talker> =>
  Layer.effect(
    Talker.Talker,
    Effect.map(Talker.Talker, (talker) =>
      Talker.Talker.of({
        ...talker,
        talk: (request: Protocol.Request) =>
          Effect.suspend(() => {
            const operation = history.invoke(machine.name, request)
            return Effect.onExit(talker.talk(request), (exit) =>
              Effect.sync(() =>
                Exit.isSuccess(exit)
                  ? history.answer(operation, exit.value)
                  : history.noAnswer(operation, !Exit.hasInterrupts(exit))
              ))
          })
      }))
  ).pipe(
    Layer.provide(Talker.layerSocket({
      connect: network.socket(machine),
      openTimeout: "1 second",
      answerTimeout: "2 seconds"
    }))
  )

/** What is done under a lease: it takes so long, and writes to the resource meanwhile. */
const work = (
  { history, random, resource }: World,
  machine: Machine,
  lease: Lease.Lease,
  ttl: number,
  millis: number,
  resumed = false
) =>
  Effect.suspend(() => {
    const hold = history.hold(machine.name, lease, { lasts: ttl * 0.9 / machine.rate, resumed })
    const writes = random.below(3)
    const writing = Effect.forEach(
      Array.from({ length: writes }),
      () => Effect.andThen(Effect.sleep(millis / writes), resource.write(machine, lease)),
      { discard: true }
    )
    return Effect.ensuring(writes === 0 ? Effect.sleep(millis) : writing, Effect.sync(() => history.release(hold)))
  })

const ttlOf = (locker: Locker.Locker): number => Duration.toMillis(locker.ttl)

/** Holds a name for so long. */
const holding = (
  world: World,
  machine: Machine,
  locker: Locker.Locker,
  millis: number,
  options: Lease.AcquireOptions
) =>
  Effect.flatMap(Held, (lease) => work(world, machine, lease, ttlOf(locker), millis)).pipe(
    Lease.withLockProvided(Held, locker, options)
  )

/** Takes a lease, lets go of it, and takes it up again, if that is in time. */
const handedOn = (world: World, machine: Machine, locker: Locker.Locker, millis: number) =>
  Effect.gen(function*() {
    const lease = yield* locker.acquire({ wait: ttlOf(locker) })
    yield* Effect.raceFirst(lease.lost, work(world, machine, lease, ttlOf(locker), millis))
    const token = yield* lease.detach
    yield* Effect.sleep(world.random.between(0, ttlOf(locker)))
    const resumed = yield* Locker.resume(token, { ttl: locker.ttl })
    yield* Effect.raceFirst(resumed.lost, work(world, machine, resumed, ttlOf(locker), millis, true))
  }).pipe(Effect.scoped)

const leaseProgram = (world: World, machine: Machine, locker: Locker.Locker) =>
  Effect.suspend(() => {
    const { random } = world
    const ttl = ttlOf(locker)
    const millis = random.chance(0.8) ? random.between(0, ttl / 4) : random.between(0, 2.5 * ttl)
    const program = random.chance(0.1)
      ? handedOn(world, machine, locker, millis)
      : holding(world, machine, locker, millis, {
        wait: random.pick([0, ttl / 4, ttl, 4 * ttl]),
        ...(random.chance(0.1) ? { maxHold: 1 + random.below(2 * ttl) } : {})
      })
    if (random.chance(0.2)) return Effect.ignore(Effect.timeoutOption(program, random.between(0, ttl)))
    // What is late of the first time must do no harm to the second.
    return random.chance(0.3) ? Effect.andThen(Effect.ignore(program), Effect.ignore(program)) : Effect.ignore(program)
  })

const plainProgram = ({ random }: World, locker: Locker.Locker) => {
  const pause = Effect.suspend(() => Effect.sleep(random.between(0, 20)))
  const one = Effect.suspend((): Effect.Effect<unknown, unknown> => {
    switch (random.below(7)) {
      case 0:
        return locker.holder
      case 1:
        return locker.put(`datum ${random.below(1000)}`)
      case 2:
        return locker.get
      case 3:
        return random.chance(0.3) ? locker.erase : locker.holder
      case 4:
        return locker.tryLock
      case 5:
        return Effect.timeoutOption(locker.lock, random.between(0, 10))
      default:
        return locker.get
    }
  })
  const some = Effect.suspend(() =>
    Effect.forEach(Array.from({ length: random.below(5) }), () => Effect.andThen(Effect.ignore(one), pause), {
      discard: true
    })
  )
  return Effect.suspend(() =>
    Effect.gen(function*() {
      const locked = yield* Effect.result(locker.lock)
      yield* some
      if (Result.isSuccess(locked) ? random.chance(0.9) : random.chance(0.05)) {
        yield* Effect.ignore(random.chance(0.9) ? locker.unlock : locker.erase)
      }
    })
  )
}

/** A client: some fibers that go on until enough was asked, and then show that all is well again. */
export const client = (world: World, machine: Machine, fibers: number) =>
  Effect.gen(function*() {
    const { calm, enough, names, random, ttls, violate } = world
    const shared = yield* Effect.forEach(names, (name) => Locker.make(name, { ttl: random.pick(ttls) }))
    const fiber = (number: number) =>
      Effect.gen(function*() {
        const own = yield* Effect.forEach(names, (name) => Locker.make(name, { ttl: random.pick(ttls) }))
        const fixed = yield* Effect.forEach(
          names,
          (name) => Locker.make(name, { ttl: random.pick(ttls), id: `${machine.name.split(".")[0]}-${number}` })
        )
        while (!enough()) {
          const at = random.below(names.length)
          if (!enough(names[at])) {
            if (random.chance(0.4)) yield* leaseProgram(world, machine, random.chance(0.5) ? shared[at]! : own[at]!)
            else yield* plainProgram(world, random.chance(0.1) ? fixed[at]! : own[at]!)
          }
          yield* Effect.sleep(random.between(0, 30))
        }
        while (!calm()) yield* Effect.sleep(100)
        const last = yield* Effect.result(
          holding(world, machine, own[number % names.length]!, 5, { wait: "60 seconds" })
        )
        if (Result.isFailure(last)) {
          violate(`${machine.name} got no lock after all was well again: ${last.failure.message}`)
        }
      })
    yield* Effect.forEach(Array.from({ length: fibers }), (_, i) => fiber(i), {
      concurrency: "unbounded",
      discard: true
    })
  }).pipe(Effect.provide(layerTalker(world, machine)))

/** Without any fault: what is given back is free at once, a client that waits gets it, and one that gave up does not. */
export const tester = (world: World, machine: Machine) =>
  Effect.gen(function*() {
    const { names, random, settles, violate } = world
    const lockers = (name: string) =>
      Effect.flatMap(Layer.build(layerTalker(world, machine)), (talker) =>
        Effect.provide(Locker.make(name, { ttl: "2 seconds" }), talker))
    yield* Effect.forEach(names, (name) =>
      Effect.gen(function*() {
        const [a, b, c] = yield* Effect.all([lockers(name), lockers(name), lockers(name)])
        const isFree = (when: string) =>
          Effect.delay(a.holder, settles).pipe(
            Effect.map((holder) =>
              holder === "Nobody" ? undefined : violate(`${name} is not free ${when}`)
            )
          )
        yield* isFree("when all was given back")
        yield* holding(world, machine, a, 2500, {})
        yield* isFree("after a lease")
        const gaveUp = Effect.timeoutOption(b.acquire().pipe(Effect.scoped), random.between(20, 40))
        yield* Effect.all([holding(world, machine, a, 100, {}), Effect.delay(gaveUp, 10)], { concurrency: 2 })
        yield* isFree("after somebody gave up waiting for it")
        yield* Effect.all(
          [a, b, c].map((locker) => holding(world, machine, locker, 50, { wait: "1 second" })),
          { concurrency: "unbounded" }
        )
        yield* isFree("after three had it")
      }), { concurrency: "unbounded", discard: true })
  }).pipe(
    Effect.scoped,
    Effect.catch((error) => Effect.sync(() => world.violate(`without any fault: ${error.message}`)))
  )
