/**
 * How an order is paid: under a lock of its own, whichever process of the API is asked.
 */
import { Context, Effect } from "effect"
import { HttpApiBuilder } from "effect/http-api"
import { KeyValueStore } from "effect/persistence"
// Not "effect-dlm": within the repository that would need a build first.
import { type DlmError, Lease, type Talker } from "../../src/index.ts"
import { Api, OrderBusy, Unavailable } from "./Api.ts"

/** Those who take the money. */
export class Payments extends Context.Service<Payments, {
  readonly charge: (order: string) => Effect.Effect<string>
}>()("shop/Payments") {}

/** The receipts of the orders that are paid. */
const payOnce = Effect.fn("payOnce")(function*(id: string) {
  const receipts = yield* KeyValueStore.KeyValueStore
  const payments = yield* Payments
  const paid = yield* receipts.get(id)
  if (paid !== undefined) return paid
  const receipt = yield* payments.charge(id)
  yield* receipts.set(id, receipt)
  return receipt
})

const busy = (order: string, { holder }: DlmError.AcquireTimeout) =>
  new OrderBusy({
    order,
    ...(holder === undefined ? {} : { since: holder.since }),
    ...(holder?.label === undefined ? {} : { by: holder.label })
  })

const unavailable = (error: DlmError.LockUnavailable | DlmError.LeaseLost) =>
  Effect.andThen(Effect.logWarning(error.message), Effect.fail(new Unavailable()))

const pay = (id: string) =>
  payOnce(id).pipe(
    // What the store fails with is nobody's business: a 500.
    Effect.orDie,
    Lease.withLock(`order/${id}`, { wait: "2 seconds" }),
    Effect.catchTags({
      AcquireTimeout: (error) => Effect.fail(busy(id, error)),
      // What does not pass, such as a wrong option, is a bug and no outage.
      LockUnavailable: (error) => error.isRetryable ? unavailable(error) : Effect.die(error),
      LeaseLost: unavailable
    })
  )

export const layer = HttpApiBuilder.group(
  Api,
  "orders",
  Effect.fn(function*(handlers) {
    // Of this layer: what a handler leaves open is asked of each request.
    const context = yield* Effect.context<Talker.Talker | Payments | KeyValueStore.KeyValueStore>()
    return handlers.handleAll({
      pay: ({ params: { id } }) =>
        pay(id).pipe(
          Effect.map((receipt) => ({ receipt })),
          Effect.provideContext(context)
        )
    })
  })
)
