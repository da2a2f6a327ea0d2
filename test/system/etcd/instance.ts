/**
 * What is asked of a store itself, without a LockServer.
 */
import { Context, Effect, Layer, Stream } from "effect"
import { Store, type StoreError } from "effect-dlm/server"

type Instance = Store.Store["Service"]

/** A store of its own connections. */
export const instance = (layer: Layer.Layer<Store.Store, StoreError.StoreError | StoreError.StoreUrlError>) =>
  Effect.map(Layer.build(Layer.fresh(layer)), (context) => Context.get(context, Store.Store))

/** As the LockServer does: takes a name that is free or its own. */
export const lock = (
  store: Instance,
  name: string,
  owner: string,
  ttlMillis = 60_000,
  data?: string,
  label?: string
) =>
  store.modify(name, (found): Store.Decision<boolean> =>
    found === undefined || found.owner === owner
      ? {
        answer: true,
        change: { _tag: "Write", entry: { owner, identity: undefined, data: data ?? found?.data }, ttlMillis, label }
      }
      : { answer: false, change: { _tag: "Keep" } }, { owner, identity: undefined, waits: false })

/** As the LockServer does: frees a name that is its own. */
export const unlock = (store: Instance, name: string, owner: string) =>
  store.modify(name, (found): Store.Decision<boolean> =>
    found?.owner === owner
      ? { answer: true, change: { _tag: "Remove" } }
      : { answer: found === undefined, change: { _tag: "Keep" } }, { owner, identity: undefined, waits: false })

/** What is there. */
export const read = (store: Instance, name: string) =>
  store.modify(name, (found): Store.Decision<Store.Entry | undefined> => ({
    answer: found,
    change: { _tag: "Keep" }
  }))

/** Waits until it hears that a name was freed. */
export const hears = (store: Instance, name: string) =>
  store.sharing!.freed.pipe(
    Stream.filter((freed) => freed === name),
    Stream.take(1),
    Stream.runDrain,
    Effect.timeout("25 seconds")
  )
