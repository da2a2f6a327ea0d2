/**
 * A paused writer that its fence gives away, as it came about in a simulated run.
 */
import { fencedWrites, pausedAt, resumedAt } from "./simulated.ts"
import { headDown, path, rect, svg, text, timeline } from "./svg.ts"

const rows = { paused: 70, next: 130, guarded: 222 } as const
const high = 28
const label = 16
const bottom = 262

export const fence = async (): Promise<string> => {
  const { next, states, writes } = await fencedWrites()
  const { at, marks } = timeline(160, 780, 56, 54, bottom)
  const own = writes.find(({ who }) => who === "paused")!.fence
  const lost = states.find(({ state }) => state === "Lost")!.at
  const refused = writes.find(({ isTaken }) => !isTaken)!
  const bar = (kind: string, from: number, to: number, y: number, what: string) =>
    rect(kind, at(from), y, at(to) - at(from), high) + text((at(from) + at(to)) / 2, y + 19, what, "text", "middle")
  const arrows = writes.map(({ at: when, isTaken, who }) => {
    const x = at(when)
    const kind = isTaken ? "taken" : "end"
    const to = isTaken ? rows.guarded - 2 : rows.guarded - 14
    const cross = `M${(x - 6).toFixed(1)} ${to - 4}l12 12m0 -12l-12 12`
    return path(kind, `M${x.toFixed(1)} ${rows[who] + high}V${to}`) +
      (isTaken ? headDown(kind, x, to) : path(kind, cross))
  })
  const taken = writes.filter(({ isTaken }) => isTaken)
  // From the first write by a fence until the first by another.
  const newest = taken.filter(({ fence }, i) => fence !== taken[i - 1]?.fence)
  return svg({
    title: "A fence refuses a paused writer",
    description:
      `A writer holds the lock under fence ${own}, and writes. At ${pausedAt} seconds its process stands still, ` +
      `so its lease ends, and at ${next.from} seconds the next holder writes under fence ${next.fence}. The first goes on at ` +
      `${resumedAt} seconds and writes before it knows: what the lock guards has seen fence ${next.fence}, and refuses fence ${own}.`,
    height: 308,
    body: [
      text(label, 30, "A writer that is paused for longer than its lease", "name"),
      ...marks,
      text(label, rows.paused + 12, "a writer", "name"),
      text(label, rows.paused + 29, `fence ${own}`),
      bar("held", 0, pausedAt, rows.paused, "Held"),
      bar("idle", pausedAt, resumedAt, rows.paused, ""),
      text((at(pausedAt) + at(lost)) / 2, rows.paused + 19, "paused: renews nothing", "text", "middle"),
      text((at(lost) + at(resumedAt)) / 2, rows.paused + 19, "still paused: hears nothing", "text", "middle"),
      text(at(resumedAt) - 4, rows.paused - 8, "goes on: writes", "bad", "middle"),
      path("end", `M${at(lost).toFixed(1)} ${rows.paused - 4}V${rows.paused + high + 4}`),
      text(at(lost), rows.paused - 8, "its lease is over", "text", "middle"),
      text(label, rows.next + 12, "the next writer", "name"),
      text(label, rows.next + 29, `fence ${next.fence}`),
      path("wait", `M${at(12).toFixed(1)} ${rows.next + high / 2}H${at(next.from).toFixed(1)}`),
      text(at(12), rows.next + 8, "waits"),
      bar("next", next.from, next.to, rows.next, "Held"),
      ...arrows,
      text(at(refused.at) + 12, rows.guarded - 34, `${refused.fence} < ${next.fence}`, "bad"),
      text(at(refused.at) + 12, rows.guarded - 18, "refused", "bad"),
      text(label, rows.guarded + 12, "what it guards", "name"),
      text(label, rows.guarded + 29, "newest fence seen"),
      ...newest.map(({ at: from, fence, who }, i) =>
        bar(who === "paused" ? "held" : "next", from, newest[i + 1]?.at ?? 56, rows.guarded, String(fence))
      )
    ]
  })
}
