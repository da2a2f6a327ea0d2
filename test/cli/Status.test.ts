import { assert, describe, it } from "@effect/vitest"
import { DlmError } from "effect-dlm"
import { fromError } from "../../src/cli/Status.ts"

const about = { name: "a", action: "Lock" } as const

const reasons: ReadonlyArray<readonly [DlmError.UnavailableReason, number]> = [
  [new DlmError.TransportError({ ...about, phase: "OpenFailed" }), 69],
  [new DlmError.ServerBusy(about), 69],
  [new DlmError.ProtocolError({ ...about, received: "HTTP/1.1" }), 76],
  [new DlmError.UnsupportedAction(about), 76],
  [new DlmError.ForeignOwner(about), 76],
  [new DlmError.FeatureMissing({ name: "a", feature: "heir", server: "" }), 76],
  [new DlmError.WrongShard({ ...about, meant: "a/5503b8ce8edeb11f" }), 76],
  [new DlmError.Refused(about), 77],
  [new DlmError.InvalidOption({ name: "a", option: "ttl", problem: "must be finite" }), 64],
  [new DlmError.Conflict({ name: "a", asked: "2 permits", present: "3 permits" }), 75],
  [new DlmError.Deadlock({ name: "a", cycle: [{ name: "a" }] }), 75]
]

describe("the exit status", () => {
  it.each(reasons)("of a lock that cannot be had is that of its reason: $0._tag", (reason, status) => {
    const failed = fromError(new DlmError.LockUnavailable({ name: "a", reason }))
    assert.deepStrictEqual(failed, fromError(reason))
    assert.deepStrictEqual([failed.status, failed.error], [status, reason._tag])
  })

  it("is known of every reason", () => {
    assert.deepStrictEqual(
      reasons.map(([{ _tag }]) => _tag).toSorted(),
      DlmError.UnavailableReason.members.map(({ fields }) => fields._tag.schema.literal).toSorted()
    )
  })
})
