/**
 * An HTTP API of which any number of processes may run: an order is paid once, whichever of them are asked.
 *
 *     npx dlm serve
 *     SHOP_FOLDER=/tmp/shop PORT=3000 node examples/http-api/server.ts
 *     curl -X POST localhost:3000/orders/7/pay
 *
 * What it pretends of the outside: a payment takes `SHOP_PAYMENT_TIME`, and is a line of `charges.log`; receipts are files.
 */
import * as NodeHttpServer from "@effect/platform-node/NodeHttpServer"
import * as NodeRuntime from "@effect/platform-node/NodeRuntime"
import * as NodeServices from "@effect/platform-node/NodeServices"
import { Config, Effect, FileSystem, Layer } from "effect"
import { HttpRouter } from "effect/http"
import { HttpApiBuilder } from "effect/http-api"
import { KeyValueStore } from "effect/persistence"
import { createServer } from "node:http"
// Not "effect-dlm": within the repository that would need a build first.
import { Lease } from "../../src/index.ts"
import { NodeTalker } from "../../src/node/index.ts"
import { Api } from "./Api.ts"
import * as Orders from "./Orders.ts"

const settings = Config.all({
  folder: Config.String("SHOP_FOLDER"),
  paymentTime: Config.Duration("SHOP_PAYMENT_TIME").pipe(Config.withDefault("100 millis")),
  port: Config.Int("PORT").pipe(Config.withDefault(3000))
})

const payments = Layer.effect(
  Orders.Payments,
  Effect.gen(function*() {
    const fs = yield* FileSystem.FileSystem
    const { folder, paymentTime } = yield* settings
    return {
      charge: Effect.fn("charge")(function*(order: string) {
        yield* Effect.log(`order ${order} is being paid`)
        yield* Effect.sleep(paymentTime)
        yield* fs.writeFileString(`${folder}/charges.log`, `${order}\n`, { flag: "a" })
        return `paid ${order}`
      }, Effect.orDie)
    }
  })
)

const server = Layer.unwrap(Effect.map(settings, ({ folder, port }) =>
  HttpRouter.serve(HttpApiBuilder.layer(Api)).pipe(
    Layer.provide(NodeHttpServer.layer(createServer, { port })),
    Layer.provide(Orders.layer),
    // `DLM_LABEL` says to those who are refused who it is that works on an order.
    Layer.provide([payments, KeyValueStore.layerFileSystem(`${folder}/receipts`), Lease.layerDefaultsConfig]),
    Layer.provide(NodeTalker.layerConfig)
  )))

Layer.launch(server).pipe(Effect.provide(NodeServices.layer), NodeRuntime.runMain)
