/**
 * `--store`: where `dlm serve` keeps its entries.
 */
import * as Flag from "effect/cli/Flag"
import * as Duration from "effect/Duration"
import * as Effect from "effect/Effect"
import * as Layer from "effect/Layer"
import * as Option from "effect/Option"
import * as Redacted from "effect/Redacted"
import * as NodeStore from "../node/NodeStore.ts"
import type * as Store from "../store/Store.ts"
import type { StoreDriverMissing, StoreUrlError } from "../StoreError.ts"
import { Failed, status } from "./Status.ts"

/** What the flags say of the store in memory alone. */
export interface MemoryFlags {
  readonly restartGrace: Option.Option<Duration.Duration>
  readonly maxStoredBytes: Option.Option<number>
}

export const flag = Flag.String("store").pipe(
  Flag.withDescription(
    `Where entries live: ${NodeStore.examples} (or DLM_STORE, which keeps a password out of sight; memory)`
  ),
  Flag.optional
)

const wrongUse = (message: string) => new Failed({ status: status.usage, error: "StoreFlag", message })

const whereOf: Record<string, string> = { url: "--store (or DLM_STORE)", listenUrl: "DLM_POSTGRES_LISTEN_URL" }

/** The same without a user, a password, or options. */
export const withoutSecrets = (place: string): string => {
  if (!place.includes("://") || place.startsWith("sqlite:")) return place.replace(/\?.*$/s, "")
  const scheme = place.slice(0, place.indexOf("://") + 3)
  const [rest = "", query = ""] = place.slice(scheme.length).split(/\?(.*)/s)
  // A part of a password that was written without escaping it may be on either side.
  return query.includes("@") ? `${scheme}…` : scheme + rest.slice(rest.lastIndexOf("@") + 1)
}

const refused = (error: StoreUrlError | StoreDriverMissing): Failed =>
  wrongUse(
    error._tag === "StoreUrlError"
      ? `${whereOf[error.option] ?? error.option} cannot be read. Write it as ${error.form}`
      : error.message
  )

/** The store that the flag, or `DLM_STORE`, names, and where it is, without what nobody may see: it may hold a password. */
export const fromFlag = Effect.fnUntraced(function*(
  given: Option.Option<string>,
  { maxStoredBytes, restartGrace }: MemoryFlags
) {
  const config = yield* NodeStore.config
  const url = Option.match(given, { onNone: () => config.url, onSome: Redacted.make })
  if (!NodeStore.isMemory(url) && Option.exists(restartGrace, (grace) => !Duration.isZero(grace))) {
    return yield* wrongUse("--restart-grace is for the memory store alone: the others forget nothing at a restart")
  }
  if (!NodeStore.isMemory(url) && Option.isSome(maxStoredBytes)) {
    return yield* wrongUse("--max-stored-bytes is for the memory store alone: the others have bounds of their own")
  }
  const layer = NodeStore.layerUrl({
    ...config,
    url,
    maxStoredBytes: Option.getOrUndefined(maxStoredBytes),
    restartGrace: Option.getOrUndefined(restartGrace)
  }).pipe(
    Layer.catchTag(
      ["StoreUrlError", "StoreDriverMissing"],
      (error): Layer.Layer<Store.Store, Failed> => Layer.effectContext(Effect.fail(refused(error)))
    )
  )
  const place = Redacted.value(url)
  const isElsewhere = !NodeStore.isMemory(url) && !place.startsWith("sqlite:")
  return { layer, place: withoutSecrets(place), isElsewhere, isShared: !NodeStore.isMemory(url) }
})
