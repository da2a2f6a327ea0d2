/**
 * What the clients do: programs with leases, and plain requests, as users
 * write them.
 */
import { Duration, Effect, Exit, Fiber, Layer, Result } from "effect"
import { Lease, Locker, Talker } from "effect-dlm"
import type { Protocol } from "effect-dlm/protocol"
import type { History } from "../../support/history/History.ts"
import type { Seeded } from "../../support/random.ts"
import type { Network } from "./Network.ts"
import type { Orphans } from "./orphans.ts"
import type { Resource } from "./Resource.ts"
import type { Machine } from "./Simulator.ts"

export interface World {
  readonly history: History
  readonly orphans: Orphans
  /** Leases that were detached, for any process to take up; more than one may try. */
  readonly tokens: Array<{ readonly token: Lease.Token; readonly ttl: number }>
  readonly network: Network
  readonly resource: Resource
  readonly random: Seeded
  readonly names: ReadonlyArray<string>
  /** Whether the server knows neither `release` nor `heir`, as far as clients are told. */
  readonly isOld: boolean
  /** Hears that a machine asks to renew a lease, and for how long. */
  readonly renews: (machine: Machine, ttl: number) => void
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

/** The owner that all processes have, for leases only. */
const team = "team"

/** Whether an owner is an id that a program has chosen: it is used again, or others have it too. */
export const isChosen = (id: string): boolean => id === team || /^client\d+-\d+$/.test(id)

/** Features without those by which a request means one tenure. */
const withoutTenures = (features: ReadonlySet<Protocol.Feature>): ReadonlySet<Protocol.Feature> =>
  new Set(Array.from(features).filter((feature) => feature !== "release" && feature !== "heir"))

/** The Talker over the network, each of whose requests is written down. */
export const layerTalker = (
  { history, isOld, network, orphans, renews, violate }: World,
  machine: Machine
): Layer.Layer<Talker.Talker> =>
  Layer.effect(
    Talker.Talker,
    Effect.map(Talker.Talker, (talker) =>
      Talker.Talker.of({
        ...talker,
        ...(isOld ? { features: Effect.map(talker.features!, withoutTenures) } : {}),
        talk: (request: Protocol.Request) =>
          Effect.suspend(() => {
            const operation = history.invoke(machine.name, request)
            // Without its fence it could end the tenure of another process that has the id.
            if (!isOld && request.ID === team && request.Action === "Unlock" && request.Fence === undefined) {
              violate(`${machine.name} unlocked ${request.FileName} by an id that others have, whatever its tenure`)
            }
            if (request.Action === "Lock" && request.Fence !== undefined) renews(machine, operation.ttl)
            return Effect.onExit(talker.talk(request), (exit) =>
              Effect.sync(() => {
                if (Exit.isFailure(exit)) return history.noAnswer(operation, !Exit.hasInterrupts(exit))
                history.answer(operation, exit.value)
                orphans.heard(operation)
              }))
          })
      }))
  ).pipe(
    Layer.provide(Talker.layerSocket({
      connect: network.socket(machine),
      openTimeout: "1 second",
      answerTimeout: "2 seconds",
      wire: network.nextWire()
    }))
  )

/** One who is told that a lease is lost finds it so. */
const watched = ({ violate }: World, machine: Machine, lease: Lease.Lease) =>
  Effect.flip(lease.lost).pipe(
    Effect.flatMap(({ reason }) =>
      Effect.map(lease.state, (state) => {
        if (reason._tag === "Released" || (state !== "Held" && state !== "Suspect")) return
        violate(`${machine.name} was told of the loss of ${lease.name} (${reason._tag}), which is ${state}`)
      })
    ),
    Effect.forkDetach({ startImmediately: true })
  )

/** What is done under a lease: it takes so long, reads the resource first, and writes to it meanwhile. */
const work = (
  world: World,
  machine: Machine,
  lease: Lease.Lease<"exclusive">,
  ttl: number,
  millis: number,
  resumed = false
) =>
  Effect.gen(function*() {
    const { history, orphans, random, resource } = world
    const isShared = lease.id === team
    const hold = history.hold(machine.name, lease, { lasts: ttl * 0.9 / machine.rate, resumed, isShared })
    orphans.began(lease)
    yield* watched(world, machine, lease)
    resource.read(lease)
    const writes = random.below(3)
    const writing = Effect.forEach(
      Array.from({ length: writes }),
      () => Effect.andThen(Effect.sleep(millis / writes), resource.write(machine, lease)),
      { discard: true }
    )
    yield* Effect.ensuring(
      writes === 0 ? Effect.sleep(millis) : writing,
      Effect.sync(() => history.release(hold))
    )
    return hold
  })

const ttlOf = (locker: Locker.Locker): number => Duration.toMillis(locker.ttl)

/** How long a fiber of the same process may keep a name after its body, in milliseconds, while it is given back. */
const releasing = 5000

/** Whether a process was told since a time that a name is another's, or one of its own fibers had it. */
const heardTaken = ({ history: { holds, operations } }: World, who: string, name: string, since: number): boolean =>
  operations.some((operation) =>
    operation.who === who && operation.name === name && operation.returnedAt >= since &&
    (operation.response?.Status === "NotOwner" && (operation.action === "Lock" || operation.action === "TestLock") ||
      operation.response?.Status === "Locked" && operation.action === "Lock")
  ) || holds.some((hold) => hold.who === who && hold.name === name && hold.to >= since - releasing)

/** Holds a name for so long. */
const holding = (
  world: World,
  machine: Machine,
  locker: Locker.Locker,
  millis: number,
  options: Lease.AcquireOptions,
  mayBeInterrupted = false
) =>
  Effect.suspend(() => {
    const since = machine.sim.now
    let found: Lease.State | undefined
    const body = Effect.flatMap(Held, (lease) =>
      Effect.onInterrupt(
        work(world, machine, lease, ttlOf(locker), millis),
        () => Effect.map(lease.state, (state) => void (found = state))
      ))
    return body.pipe(
      Lease.withLockProvided(Held, locker, options),
      Effect.tap((hold) => Effect.sync(() => void (hold.well = true))),
      Effect.tapErrorTag("LeaseLost", ({ reason }) =>
        Effect.sync(() => {
          if (mayBeInterrupted || (found !== "Held" && found !== "Suspect")) return
          world.violate(`${machine.name} was interrupted for a loss (${reason}) of ${locker.name}, which was ${found}`)
        })),
      Effect.tapErrorTag("AcquireTimeout", () =>
        Effect.sync(() => {
          if (heardTaken(world, machine.name, locker.name, since)) return
          world.violate(`${machine.name} was told that ${locker.name} is taken, which nobody had said`)
        }))
    )
  })

/** Goes on under a lease that was detached, if that is in time, and nobody else does. */
const takenUp = (world: World, machine: Machine, token: Lease.Token, ttl: number, millis: number) =>
  Effect.gen(function*() {
    const resumed = yield* Locker.resume(token, { ttl, once: !world.isOld })
    yield* Effect.raceFirst(resumed.lost, work(world, machine, resumed, ttl, millis, true))
  }).pipe(Effect.scoped)

/** Takes a lease, and lets go of it. Then it takes it up again, or another process does, or both try. */
const handedOn = (world: World, machine: Machine, locker: Locker.Locker, millis: number) =>
  Effect.gen(function*() {
    const { random, tokens } = world
    const ttl = ttlOf(locker)
    const lease = yield* locker.acquire({ wait: ttl })
    yield* Effect.raceFirst(lease.lost, work(world, machine, lease, ttl, millis))
    const token = yield* lease.detach
    const forWhom = world.isOld ? "me" : random.pick(["me", "another", "both"])
    if (forWhom !== "me") tokens.push({ token, ttl })
    // Where nobody takes it up, it ends by itself before this does.
    yield* Effect.sleep(forWhom === "another" ? ttl * 1.1 : random.between(0, ttl))
    if (forWhom === "another") return
    yield* takenUp(world, machine, token, ttl, millis)
  }).pipe(Effect.scoped)

/** Takes up what another process has detached, if something is there. */
const anothers = (world: World, machine: Machine, millis: number) =>
  Effect.suspend(() => {
    const { random, tokens } = world
    const found = random.chance(0.5) ? tokens.at(-1) : tokens.pop()
    return found === undefined ? Effect.void : takenUp(world, machine, found.token, found.ttl, millis)
  })

const leaseProgram = (world: World, machine: Machine, locker: Locker.Locker) =>
  Effect.suspend(() => {
    const { random } = world
    const ttl = ttlOf(locker)
    const millis = random.chance(0.8) ? random.between(0, ttl / 4) : random.between(0, 2.5 * ttl)
    const isInterrupted = random.chance(0.2)
    const program: Effect.Effect<unknown, unknown, Talker.Talker> = world.tokens.length > 0 && random.chance(0.3)
      ? anothers(world, machine, millis)
      : random.chance(0.1)
      ? handedOn(world, machine, locker, millis)
      : holding(world, machine, locker, millis, {
        wait: random.pick([0, ttl / 4, ttl, 4 * ttl]),
        ...(random.chance(0.1) ? { maxHold: 1 + random.below(2 * ttl) } : {})
      }, isInterrupted)
    if (isInterrupted) return Effect.ignore(Effect.timeoutOption(program, random.between(0, ttl)))
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
        // They are one owner: a request for a shorter time would end the tenure of all earlier.
        const ours = yield* Effect.forEach(names, (name) => Locker.make(name, { ttl: ttls[1]!, id: team }))
        while (!enough()) {
          const at = random.below(names.length)
          if (!enough(names[at])) {
            const lockers = random.chance(0.1) ? ours : random.chance(0.5) ? shared : own
            if (random.chance(0.4)) yield* leaseProgram(world, machine, lockers[at]!)
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

/** The fibers of one process come to a name as they have asked for it. */
const inTurn = (world: World, machine: Machine, locker: Locker.Locker) =>
  Effect.gen(function*() {
    const came: Array<number> = []
    const asked = [1, 2, 3, 4]
    const fibers = yield* Effect.forEach(asked, (number) =>
      Effect.sync(() => void came.push(number)).pipe(
        Effect.andThen(Effect.sleep(10)),
        Lease.withLock(locker, { wait: "5 seconds" }),
        Effect.forkChild({ startImmediately: true })
      ))
    yield* Effect.forEach(fibers, (fiber) => Fiber.join(fiber))
    if (String(came) !== String(asked)) {
      world.violate(`${machine.name}: ${locker.name} went to its fibers in the order ${came}`)
    }
  })

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
        yield* inTurn(world, machine, a)
        yield* isFree("after fibers of one process had it in turn")
      }), { concurrency: "unbounded", discard: true })
  }).pipe(
    Effect.scoped,
    Effect.catch((error) => Effect.sync(() => world.violate(`without any fault: ${error.message}`)))
  )
