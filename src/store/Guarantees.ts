/**
 * What a store guarantees beyond one holder at a time, as types: each store's
 * layer provides those that it gives, and `LockServer.layerOver` asks for some.
 */
import * as Context from "effect/Context"

/** Fences rise with every tenure of a name, also across a restart of the server and of the store. */
export class Fence extends Context.Service<Fence, true>()("effect-dlm/server/Guarantees/Fence") {}

/** All who wait for a name are served in the order of their coming. Without it only those at the same server are. */
export class Fair extends Context.Service<Fair, true>()("effect-dlm/server/Guarantees/Fair") {}

/** What was acknowledged survives a crash and restart of the server and of the store. */
export class Durable extends Context.Service<Durable, true>()("effect-dlm/server/Guarantees/Durable") {}

/** What was acknowledged survives the loss of a machine of the store: exclusion holds across a failover. */
export class Failover extends Context.Service<Failover, true>()("effect-dlm/server/Guarantees/Failover") {}

/** Any of them. */
export type Guarantee = Fence | Fair | Durable | Failover
