/**
 * What is logged, as a test can wait for it.
 */
import { Effect, Logger, Queue } from "effect"

/** A logger, and the next that it was told, as `Level: message`. */
export const collected = Effect.map(Queue.unbounded<string>(), (queue) => ({
  layer: Logger.layer([
    Logger.make(({ logLevel, message }) => void Queue.offerUnsafe(queue, `${logLevel}: ${String(message)}`))
  ]),
  next: Queue.take(queue),
  rest: Queue.clear(queue)
}))
