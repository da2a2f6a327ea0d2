/**
 * What the API offers: an order is paid, once. Who calls it needs this file, and nothing of the server.
 */
import { Schema } from "effect"
import { HttpApi, HttpApiEndpoint, HttpApiGroup } from "effect/http-api"

/** Somebody works on the order. Who, and since when, where the lock server says so. */
export class OrderBusy extends Schema.TaggedError<OrderBusy>()("OrderBusy", {
  order: Schema.String,
  by: Schema.optionalKey(Schema.String),
  since: Schema.optionalKey(Schema.DateTimeUtc)
}, { httpApiStatus: 409 }) {}

/** The lock cannot be had now, or was lost: it is not known whether the order is paid. */
export class Unavailable extends Schema.TaggedError<Unavailable>()("Unavailable", {}, { httpApiStatus: 503 }) {}

/** A name of a lock has at most 512 bytes, and this becomes a part of one. */
const OrderId = Schema.NonEmptyString.check(Schema.isMaxLength(64))

export const Api = HttpApi.make("shop").add(
  HttpApiGroup.make("orders").add(
    HttpApiEndpoint.post("pay", "/orders/:id/pay", {
      params: { id: OrderId },
      success: Schema.Struct({ receipt: Schema.String }),
      error: [OrderBusy, Unavailable]
    })
  )
)
