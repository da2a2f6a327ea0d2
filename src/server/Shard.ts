/**
 * Which of several servers this one is, where each has a share of the names.
 *
 * A server that knows it holds no name that is another's, whoever asks: a client with another list, one that was given
 * two addresses the wrong way round, and one that knows of no list at all are refused.
 */
import * as Context from "effect/Context"
import * as Effect from "effect/Effect"
import * as Layer from "effect/Layer"
import { InvalidOption } from "../DlmError.ts"
import { Shards, shardsProblem } from "../protocol/Protocol.ts"

/** One server of a list. */
export interface Shard {
  /** Its name. */
  readonly name: string
  /** Which server has which name. */
  readonly shards: Shards
}

/** Which of several servers a LockServer is; none where it has all names, as it does unless a layer says otherwise. */
export const Shard: Context.Reference<Shard | undefined> = Context.Reference<Shard | undefined>(
  "effect-dlm/server/Shard",
  { defaultValue: () => undefined }
)

/** The same on all servers but for the name. */
export interface Options {
  /** The name of this server. */
  readonly name: string
  /** The names of all servers, in any order, this one's among them. */
  readonly of: ReadonlyArray<string>
}

/** One server of a list. An empty list, a name that is none, that is there twice or not there is an `InvalidOption`. */
export const make = ({ name, of }: Options): Effect.Effect<Shard, InvalidOption> => {
  const problem = shardsProblem(of) ??
    (of.includes(name) ? undefined : `does not have ${JSON.stringify(name)}, which is to be this server`)
  return problem === undefined
    ? Effect.succeed({ name, shards: new Shards(of) })
    : Effect.fail(new InvalidOption({ name: "Shard", option: "of", problem }))
}

/**
 * Gives a LockServer its share of the names. The names that are another server's it answers with `BadPayload`.
 *
 * @example
 * ```ts
 * import { Layer } from "effect"
 * import { LockServer, Shard } from "effect-dlm/server"
 *
 * const lockServer = LockServer.layerMemory.pipe(Layer.provide(Shard.layer({ name: "a", of: ["a", "b", "c"] })))
 * ```
 */
export const layer = (options: Options): Layer.Layer<never, InvalidOption> => Layer.effect(Shard, make(options))
