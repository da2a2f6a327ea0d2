/**
 * An entry that a version without labels wrote, and what a store of today must make of it.
 */
import { assert } from "@effect/vitest"
import { Effect } from "effect"
import type { Store } from "effect-dlm/server"

type Instance = Store.Store["Service"]

const ask = (store: Instance, name: string, owner: string, label?: string) =>
  store.modify(name, (found): Store.Decision<boolean> =>
    found === undefined || found.owner === owner
      ? {
        answer: true,
        change: { _tag: "Write", entry: { owner, identity: undefined, data: found?.data }, ttlMillis: 600_000, label }
      }
      : { answer: false, change: { _tag: "Keep" } }, { owner, identity: undefined, waits: false })

const free = (store: Instance, name: string, owner: string) =>
  store.modify(name, () => ({ answer: undefined, change: { _tag: "Remove" } }), {
    owner,
    identity: undefined,
    waits: false
  })

/**
 * The entry is the owner's "me", and of this fence. It is held on, renewed and freed; since when it is, is known from
 * its fence or not at all. The next tenure has a holder.
 */
export const goesOn = (store: Instance, name: string, fence: bigint, since?: number) =>
  Effect.gen(function*() {
    const holder = (label: string | undefined) => since === undefined ? undefined : { label, since }
    const refused = yield* ask(store, name, "other")
    assert.isFalse(refused.answer)
    assert.strictEqual(refused.fence, fence)
    assert.deepStrictEqual(refused.holder, holder(undefined))
    for (const label of [undefined, "mine", undefined]) {
      const renewed = yield* ask(store, name, "me", label)
      assert.isTrue(renewed.answer)
      assert.strictEqual(renewed.fence, fence)
    }
    assert.deepStrictEqual((yield* ask(store, name, "other")).holder, holder("mine"))
    yield* free(store, name, "me")
    const next = yield* ask(store, name, "other", "other's")
    assert.isTrue(next.answer && next.fence! > fence)
    assert.strictEqual((yield* ask(store, name, "me")).holder?.label, "other's")
  })
