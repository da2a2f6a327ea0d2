/**
 * The requests of one connection that are worked on. They run side by side, and are answered as they are done.
 */
import * as Effect from "effect/Effect"
import * as Exit from "effect/Exit"
import * as Fiber from "effect/Fiber"
import type { Received, Request, Response } from "../protocol/Protocol.ts"
import { Unanswered } from "../transport/Unanswered.ts"
import { type Answering, isThere } from "./Answering.ts"
import { busy } from "./Busy.ts"
import type { Account } from "./ByteBudget.ts"
import { Sender } from "./Sender.ts"
import type { Shared } from "./Shared.ts"

/** Where the requests come from, and their answers go to. */
export interface Origin extends Account {
  /** Takes the answer to a request. */
  answer(request: Received, response: Response): void
  /** Hears that a request that was not answered at once is worked on no more. */
  requestEnded(): void
  /** Hears that requests wait, for locks or for changes, from now on, or that none does any more. */
  setWaiting(waits: boolean): void
}

const unknown: Response = { Status: "BadAction" }

/** A request, what works on it, and how many came before it. */
interface Running {
  readonly fiber: Fiber.Fiber<Response>
  readonly request: Received
  readonly came: number
}

/** The requests of one connection that are worked on. */
export class InFlight {
  private readonly shared: Shared
  private readonly origin: Origin
  private readonly sender = new Sender()
  private readonly requests = new Unanswered<Running>()
  /** How many of them queue for a lock, or wait for a change: they must not keep from being read what they wait for, such as its unlock. */
  private waiting = 0
  private came = 0

  constructor(shared: Shared, origin: Origin) {
    this.shared = shared
    this.origin = origin
  }

  /** Whether no request is worked on. */
  get isEmpty(): boolean {
    return this.requests.size === 0
  }

  /** Whether as many requests are worked on as may be, without those that queue for a lock. */
  get isFull(): boolean {
    return this.requests.size - this.waiting >= this.shared.limits.maxRunning
  }

  /** Begins with a request, whose message has this length. Most requests are answered before this returns. */
  start(request: Received, bytes: number): void {
    const { budget, fork, lockServer } = this.shared
    if (!budget.hasRoomFor(bytes)) return this.origin.answer(request, { Status: "NO" })
    const waits = request.Action !== undefined && request.Wait !== undefined &&
      this.mayWait(bytes, request.Action === "Describe" || request.Action === "Log")
    const answering = request.Action === undefined
      ? lockServer.refuse?.(request) ?? unknown
      : this.begin(request.Wait === undefined || waits ? request : { ...request, Wait: 0 })
    if (isThere(answering)) return this.origin.answer(request, answering)
    const fiber = fork(answering)
    const exit = fiber.pollUnsafe()
    if (exit === undefined) this.follow(fiber, request, bytes, waits)
    else this.answerExit(request, exit)
  }

  private follow(fiber: Fiber.Fiber<Response>, request: Received, bytes: number, waits: boolean): void {
    const { budget } = this.shared
    const number = this.requests.add({ fiber, request, came: this.came++ })
    budget.begin(bytes, waits, this.origin)
    if (waits && this.waiting++ === 0) this.origin.setWaiting(true)
    fiber.addObserver((exit) => {
      const isAnswered = this.requests.get(number) === undefined
      this.requests.delete(number)
      budget.end(bytes, waits, this.origin)
      if (waits && --this.waiting === 0) this.origin.setWaiting(false)
      if (!isAnswered) this.answerExit(request, exit)
      this.origin.requestEnded()
    })
  }

  // A LockServer that a user has made may fail all the same; one that was given up has nobody to answer.
  private answerExit(request: Received, exit: Exit.Exit<Response>): void {
    if (Exit.isSuccess(exit)) this.origin.answer(request, exit.value)
    else if (!Exit.hasInterrupts(exit)) this.origin.answer(request, busy)
  }

  private begin(request: Request): Answering {
    const { handle } = this.shared.lockServer
    return handle.begin === undefined ? handle(request, this.sender) : handle.begin(request, this.sender)
  }

  private mayWait(bytes: number, isWatching: boolean): boolean {
    return this.waiting < this.shared.limits.maxRunning && this.shared.budget.mayWait(bytes, this.origin, isWatching)
  }

  /** Gives up all requests at once: what waits is withdrawn when this returns, and what the store is asked goes on. */
  interruptAllUnsafe(): void {
    for (const [, { fiber }] of this.lastFirst()) fiber.interruptUnsafe()
  }

  /** Gives up requests, all or those that wait, and answers them: nobody knows what has become of them. */
  answerUnsafe(which: "All" | "Waiting"): void {
    for (const [number, { fiber, request }] of this.lastFirst()) {
      if ((which === "Waiting" && !isWaiting(request)) || this.requests.get(number) === undefined) continue
      // It is answered once, whatever becomes of it.
      this.requests.delete(number)
      this.origin.answer(request, busy)
      fiber.interruptUnsafe()
    }
  }

  /** Gives up all requests, for a client that has gone. */
  readonly interruptAll: Effect.Effect<void> = Effect.suspend(() => Fiber.interruptAll(this.fibers(() => true)))

  /** Gives up the requests that would have to be waited for. */
  readonly interruptWaiting: Effect.Effect<void> = Effect.suspend(() => Fiber.interruptAll(this.fibers(isWaiting)))

  private fibers(which: (request: Received) => boolean): ReadonlyArray<Fiber.Fiber<Response>> {
    return this.lastFirst().filter(([, { request }]) => which(request)).map(([, { fiber }]) => fiber)
  }

  // In this order they are given up: where one goes that waits, none of this client's is let in that waits behind it.
  private lastFirst(): ReadonlyArray<readonly [number: number, running: Running]> {
    return Array.from(this.requests).toSorted(([, one], [, other]) => other.came - one.came)
  }
}

const isWaiting = ({ Wait }: Received): boolean => Wait !== undefined
