/**
 * The life of a lease, as it came about in a simulated run.
 */
import { askedAt, cutAt, lifeOfALease } from "./simulated.ts"
import { element, path, rect, svg, text, timeline } from "./svg.ts"

const rows = { holder: 66, server: 136, waiting: [206, 250] } as const
const high = 28
const label = 16
const bottom = 290

/** When it began, to a tenth of a second. */
const tenth = (second: number): string => (Math.round(second * 10) / 10).toString()

export const lease = async (): Promise<string> => {
  const { holder, holds, renewals, states } = await lifeOfALease()
  const { at, marks } = timeline(160, 780, 66, 48, bottom)
  const startOf = (state: string) => states.find((entry) => entry.state === state)!.at
  const [suspect, lost] = [startOf("Suspect"), startOf("Lost")]
  const [first, second] = holds
  const granted = first!.from
  const bar = (kind: string, from: number, to: number, y: number, what: string) =>
    rect(kind, at(from), y, at(to) - at(from), high) + text((at(from) + at(to)) / 2, y + 19, what, "text", "middle")
  const waits = holds.map((hold, i) => {
    const y = rows.waiting[i]!
    const asked = askedAt[i]!
    const line = `M${at(asked).toFixed(1)} ${y + high / 2}H${at(hold.from).toFixed(1)}`
    return text(label, y + 19, i === 0 ? "waits first" : "waits second", "name") + path("wait", line) +
      element("circle", { class: "answered", cx: at(asked), cy: y + high / 2, r: 4 }) +
      text(at(asked) + 4, y + 8, i === 0 ? "asks, and is next" : "asks") +
      rect("next", at(hold.from), y, at(hold.to) - at(hold.from), high) +
      text(at(hold.to) + 6, y + 19, "held")
  })
  const dots = renewals.map(({ at: sent, isAnswered }) =>
    element("circle", { class: isAnswered ? "answered" : "silent", cx: at(sent), cy: rows.holder - 9, r: 4 })
  )
  return svg({
    title: "The life of a lease",
    description: `A lease of 30 seconds is held, and renewed at ${
      renewals.filter(({ at: sent, isAnswered }) => isAnswered && sent > 0).map(({ at: sent }) =>
        tenth(sent)
      ).join(
        " and "
      )
    } seconds. At ${cutAt} seconds the network of its holder is cut: at ${tenth(suspect)} the lease is suspect, at ` +
      `${tenth(lost)} it is lost and its body interrupted. Only at ${
        tenth(granted)
      } the server lets in the first that ` +
      `waits, under a greater fence, and at ${tenth(second!.from)} the second.`,
    height: 336,
    body: [
      text(label, 30, "A lease of 30 seconds, whose holder loses the network", "name"),
      ...marks,
      path("end", `M${at(cutAt).toFixed(1)} 48V${rows.holder + high + 14}`),
      text(at(cutAt) + 6, rows.holder + high + 16, "its network is cut", "bad"),
      element("circle", { class: "answered", cx: 562, cy: 26, r: 4 }),
      text(572, 30, "request, answered"),
      element("circle", { class: "silent", cx: 706, cy: 26, r: 4 }),
      text(716, 30, "no answer"),
      text(label, rows.holder + 19, "the holder", "name"),
      bar("held", 0, suspect, rows.holder, "Held"),
      bar("suspect", suspect, lost, rows.holder, "Suspect"),
      path("end", `M${at(lost).toFixed(1)} ${rows.holder - 4}V${rows.holder + high + 4}`),
      text(at(lost) + 8, rows.holder + 12, "Lost: its body", "bad"),
      text(at(lost) + 8, rows.holder + 27, "is interrupted", "bad"),
      ...dots,
      text(label, rows.server + 19, "at the server", "name"),
      bar(
        "held",
        0,
        granted,
        rows.server,
        `the holder's, under fence ${holder}, for 30 s from the last answer`
      ),
      bar("next", granted, first!.to, rows.server, `fence ${first!.fence}`),
      bar("next", second!.from, second!.to, rows.server, `fence ${second!.fence}`),
      text(at(granted), rows.server - 8, `${tenth(granted - lost)} s later: the next`, "good"),
      ...waits
    ]
  })
}
