/**
 * Doing what a program says, and writing down what comes of it.
 *
 * What one step fails with is caught, as a user would, and the next step is done; but for what the program says is to
 * fail, and for interruptions, which end what they interrupt.
 */
import type * as Context from "effect/Context"
import * as Duration from "effect/Duration"
import * as Effect from "effect/Effect"
import * as Exit from "effect/Exit"
import * as Fiber from "effect/Fiber"
import * as Latch from "effect/Latch"
import * as Option from "effect/Option"
import * as Schedule from "effect/Schedule"
import * as Schema from "effect/Schema"
import * as Stream from "effect/Stream"
import * as Cell from "../../client/Cell.ts"
import * as Lease from "../../client/Lease.ts"
import * as Locker from "../../client/Locker.ts"
import { type At, type Doing, type HandedOn, inHand, inside, operation, type Shared } from "./Doing.ts"
import { claimOf, claimOfToken, holdKind, performKind } from "./doingKinds.ts"
import {
  type HoldAll,
  isProved,
  type LeaseAction,
  type PlainAction,
  type Process,
  type Step,
  type Steps,
  ttlOfAll
} from "./Program.ts"
import type { Recorder } from "./Trace.ts"
import type { Runner } from "./World.ts"

const Held = Lease.tag("effect-dlm/testing/programs")
const AlsoHeld = Lease.tag("effect-dlm/testing/programs/also")

/** Does steps one after another. */
export const run = (at: At, steps: Steps): Doing<void> =>
  Effect.gen(function*() {
    const forked: Array<Fiber.Fiber<unknown, unknown>> = []
    for (const step of steps) {
      const exit = yield* Effect.exit(perform(at, step, forked))
      const isToEnd = step.op === "fail" || step.op === "die"
      if (Exit.isFailure(exit) && (isToEnd || Exit.hasInterrupts(exit))) return yield* exit
    }
    for (const fiber of forked) yield* Fiber.await(fiber)
  })

const perform = (at: At, step: Step, forked: Array<Fiber.Fiber<unknown, unknown>>): Doing => {
  const { shared } = at
  switch (step.op) {
    case "sleep":
      return Effect.sleep(Duration.millis(step.millis))
    case "fail":
      return Effect.fail({ _tag: "OwnFailure" })
    case "die":
      return Effect.die("a defect of the program")
    case "plain": {
      const locker = shared.lockers[step.locker]!
      return operation(at, step, [locker.name], (id) => plain(at, locker, step.action, id))
    }
    case "lease": {
      const lease = at.lease ?? shared.lastLease
      return lease === undefined ? Effect.void : operation(
        at,
        step,
        [lease.name],
        (id) => onLease(at, lease, step.action, id),
        lease
      )
    }
    case "hold": {
      const { name } = shared.specs[step.locker]!
      return operation(at, step, [name], (id) => hold(at, step, id))
    }
    case "holdAll": {
      const names = Array.from(new Set(step.lockers.map((locker) => shared.specs[locker]!.name)))
      return operation(at, step, names, (id) => holdAll(at, step, id))
    }
    case "resume": {
      const { token } = step.ofAny === true ? shared.handedOn : shared
      return token === undefined ? Effect.void : resume(at, step, token)
    }
    default:
      return performKind(at, step) ??
        operation(at, step, [], (id) => around(at, step as Around, id, forked))
  }
}

const holdAll = ({ shared, ...rest }: At, step: HoldAll, id: number): Doing => {
  const { body, lockers, wait } = step
  const held = inside({ shared, ...rest }, id, undefined, body)
  const [first, second] = lockers.map((locker) => shared.lockers[locker])
  if (isProved(step, shared.specs) && first !== undefined && second !== undefined) {
    return Effect.andThen(Effect.all([Held, AlsoHeld]), held).pipe(
      Lease.withLocksProvided([[Held, first], [AlsoHeld, second]], { wait })
    )
  }
  const targets = Effect.forEach(
    lockers,
    (locker): Doing<Lease.Target> => {
      const known = shared.lockers[locker]
      return known === undefined ? claimOf(shared.specs[locker]!) : Effect.succeed(known)
    }
  )
  const ttl = ttlOfAll(step, shared.specs)
  return Effect.flatMap(targets, (targets) => Lease.withLocks(held, targets, { wait, ttl }))
}

type Hold = Extract<Step, { readonly op: "hold" }>

const hold = (at: At, step: Hold, id: number): Doing => {
  const poll = step.poll === undefined ? undefined : Schedule.spaced(Duration.millis(step.poll))
  const options = { wait: step.wait, margin: step.margin, maxHold: step.maxHold, poll, label: step.label }
  const locker = at.shared.lockers[step.locker]
  return locker === undefined
    ? holdKind(at, step, at.shared.specs[step.locker]!, options, id)
    : holdLocker(at, step, locker, { ...options, ttl: step.byName === true ? locker.ttl : undefined }, id)
}

const holdLocker = (
  at: At,
  step: Hold,
  locker: Locker.Locker,
  options: Lease.AcquireOptions,
  id: number
): Doing => {
  const target: Lease.Target<"exclusive"> = step.byName === true ? locker.name : locker
  switch (step.way) {
    case "withLock":
      return Lease.withLock(inside(at, id, undefined, step.body), target, options)
    case "withLockIfAvailable":
      return Lease.withLockIfAvailable(inside(at, id, undefined, step.body), target, options)
    case "withLockProvided":
      return Effect.flatMap(Held, (lease) => inside(at, id, lease, step.body)).pipe(
        Lease.withLockProvided(Held, target, options)
      )
    case "withLockProvidedIfAvailable":
      return Effect.flatMap(Held, (lease) => inside(at, id, lease, step.body)).pipe(
        Lease.withLockProvidedIfAvailable(Held, target, {
          margin: step.margin,
          maxHold: step.maxHold,
          ttl: options.ttl,
          label: step.label
        })
      )
    case "use":
      return Lease.use(target, options, (lease) => inside(at, id, lease, step.body))
    default:
      return Effect.scoped(Effect.flatMap(Lease.acquire(target, options), (lease) => inHand(at, lease, step.body, id)))
  }
}

const resume = (at: At, step: Extract<Step, { readonly op: "resume" }>, token: Lease.Token): Doing =>
  operation(at, step, [token.name], (id) =>
    Effect.suspend(() => {
      const ttl = at.shared.lockers[0]!.ttl
      const options = { ttl, once: step.once }
      const resumed = token.limit === undefined
        ? Locker.resume(token, options)
        : Effect.flatMap(claimOfToken(token, token.limit), (claim) => Lease.resume(claim, token, options))
      return Effect.scoped(Effect.flatMap(resumed, (lease) => inHand(at, lease, step.body, id)))
    }))

type Around = Extract<
  Step,
  { readonly op: "block" | "fork" | "timeout" | "interrupt" | "uninterruptible" | "finalizer" | "repeat" }
>

const around = (at: At, step: Around, id: number, forked: Array<Fiber.Fiber<unknown, unknown>>): Doing => {
  const { recorder, runner } = at.shared
  if (step.op === "block") return runner.block(step.millis)
  const body = inside(at, id, undefined, step.body, false)
  switch (step.op) {
    case "fork":
      return Effect.map(
        step.leftBehind ? Effect.forkDetach(body) : Effect.forkChild(body),
        (fiber) => void (step.leftBehind ? at.shared.leftBehind : forked).push(fiber)
      )
    case "timeout":
    case "interrupt":
      return Effect.flatMap(Effect.forkChild(body, { startImmediately: true }), (fiber) => {
        const time = step.op === "timeout"
          ? Effect.sleep(Duration.millis(step.millis))
          : Effect.forEach(Array.from({ length: step.yields }), () => Effect.yieldNow, { discard: true })
        const over = Effect.andThen(
          time,
          Effect.sync(() => {
            if (fiber.pollUnsafe() === undefined) recorder.note({ _tag: "Interrupted", id })
          })
        )
        return Effect.raceFirst(Fiber.await(fiber), Effect.andThen(over, Fiber.interrupt(fiber)))
      })
    case "uninterruptible":
      return Effect.uninterruptible(body)
    case "finalizer":
      return Effect.ensuring(
        body,
        Effect.andThen(
          Effect.sleep(Duration.millis(step.millis)),
          step.throws ? Effect.die("a finalizer of the program throws") : Effect.void
        )
      )
    case "repeat":
      return Effect.forEach(Array.from({ length: step.times }), () => body, { discard: true })
  }
}

const got = (at: At, name: string, text: Option.Option<string>, id: number) =>
  Effect.sync(() => {
    const { process, recorder } = at.shared
    if (Option.isSome(text)) recorder.note({ _tag: "Got", id, process, name, text: text.value })
  })

const put = (at: At, name: string, id: number) => {
  const { process, recorder } = at.shared
  const text = `text of ${id}`
  recorder.note({ _tag: "Put", id, process, name, text })
  return text
}

const plain = (at: At, locker: Locker.Locker, action: PlainAction, id: number): Doing => {
  const cell = Cell.make(locker, Schema.String)
  const seen = (text: string) => got(at, locker.name, Option.some(text), id)
  switch (action) {
    case "put":
      return locker.put(JSON.stringify(put(at, locker.name, id)))
    case "get":
      return Effect.tap(locker.get, (text) => seen(String(JSON.parse(text))))
    case "cellSet":
      return cell.set(put(at, locker.name, id))
    case "cellGet":
      return Effect.flatMap(cell.get, (text) => got(at, locker.name, text, id))
    case "cellErase":
      return cell.erase
    case "cellUpdate":
      return cell.update(() => put(at, locker.name, id))
    case "print":
      return printed(at, locker)
    default:
      return locker[action]
  }
}

const printed = (at: At, what: unknown) =>
  Effect.sync(() => at.shared.recorder.note({ _tag: "Printed", text: `${JSON.stringify(what)} ${String(what)}` }))

const onLease = (at: At, lease: Lease.Lease, action: LeaseAction, id: number): Doing => {
  const { recorder } = at.shared
  const cell = lease.cell(Schema.String)
  switch (action) {
    case "detach":
      return Effect.tap(lease.detach, (token) =>
        Effect.sync(() => {
          at.shared.token = token
          at.shared.handedOn.token = token
        }))
    case "put":
      return cell.set(put(at, lease.name, id))
    case "get":
      return Effect.flatMap(cell.get, (text) => got(at, lease.name, text, id))
    case "update":
      return cell.update(() => put(at, lease.name, id))
    case "state":
      return lease.state
    case "remaining":
      return lease.remaining
    case "print":
      return printed(at, lease)
    case "lost":
      return listen(
        at,
        `lost of ${id}`,
        Effect.catch(lease.lost, ({ reason }) =>
          Effect.map(lease.state, (state) => {
            if (reason._tag !== "Released") recorder.note({ _tag: "StateAtLoss", state })
          }))
      )
    case "changes":
      return listen(
        at,
        `changes of ${id}`,
        Stream.runForEach(
          lease.changes,
          (state) => Effect.sync(() => recorder.note({ _tag: "State", lease: id, state }))
        )
      )
    case "throwingListener":
      return Effect.contextWith((context: Context.Context<never>) =>
        Effect.sync(() => {
          Effect.runCallbackWith(context)(lease.lost, {
            onExit: () => {
              throw new Error("a listener throws")
            }
          })
        })
      )
  }
}

const listen = (at: At, to: string, self: Effect.Effect<unknown, unknown>): Doing =>
  Effect.map(
    Effect.forkDetach(self, { startImmediately: true }),
    (fiber) => void at.shared.listeners.push({ fiber, to })
  )

/** The fibers of a process, started. */
export const start = (
  process: number,
  { fibers, lockers }: Process,
  runner: Runner,
  recorder: Recorder,
  { handedOn, prefix }: { readonly prefix: string; readonly handedOn: HandedOn }
): Effect.Effect<Shared> => {
  const specs = lockers.map((spec) => ({ ...spec, name: prefix + spec.name }))
  const made = Effect.forEach(
    lockers.filter(({ kind }) => kind === undefined),
    ({ id, name, ttl }) => Locker.make(prefix + name, { ttl, id: id && prefix + id })
  )
  return Effect.map(Effect.provideContext(Effect.orDie(made), runner.context), (lockers) => {
    const leftBehind = new Array<Fiber.Fiber<unknown, unknown>>()
    const listeners: Shared["listeners"] = []
    const noLease = { holders: new Map<Lease.Lease, number>(), token: undefined, lastLease: undefined }
    const crashed = Latch.makeUnsafe()
    const own = { process, runner, recorder, crashed, lockers, specs, prefix, run, leftBehind, listeners }
    const shared: Shared = { ...own, isDead: false, handedOn, ...noLease }
    for (const steps of fibers) {
      leftBehind.push(Effect.runForkWith(runner.context)(run({ shared, within: [], lease: undefined }, steps)))
    }
    return shared
  })
}
