/**
 * The page of one name: who holds it, who waits in which order, what happened lately, and how to take it away.
 */
import { find, foreign, make, say } from "./dom.ts"
import { hear } from "./Live.ts"
import { runDown, runUp } from "./remaining.ts"
import { makeRevoking } from "./revoking.ts"
import { hearNow, serverNow } from "./ServerClock.ts"
import { showProblem, showServer, showState } from "./status.ts"
import { clock, count, took } from "./time.ts"
import type { EventTold, HolderTold, NameTold, WaiterTold } from "./Told.ts"
import { visible } from "./visible.ts"

/** So many events are shown. */
const maxEvents = 200

const labelled = (label: string | undefined): HTMLElement =>
  label === undefined ? make("span", { class: "quiet" }, "no label") : foreign(label)

const running = (run: (element: HTMLElement, at: number | undefined) => void, at: number | undefined, kind: string) => {
  const element = make("span", { class: kind })
  run(element, at)
  return element
}

const weightText = (weight: string | undefined): string =>
  weight === undefined ? "" : weight === "all" ? "writer" : `weight ${weight}`

const fact = (term: string, ...what: ReadonlyArray<Node | string>): HTMLElement =>
  make("div", { class: "fact" }, make("dt", {}, term), make("dd", {}, ...what))

const holderOf = (holder: HolderTold, revoke: ((holder: HolderTold) => void) | undefined): HTMLElement => {
  const { endsAt, fence, label, revoked, since, weight } = holder
  const facts = make(
    "dl",
    { class: "facts" },
    ...(since === undefined ? [] : [fact("since", make("span", { class: "number" }, clock(since, serverNow())))]),
    fact("held for", running(runUp, since, "number")),
    fact("remaining", running(runDown, endsAt, "number")),
    ...(weight === undefined ? [] : [fact("weight", weight === "all" ? "all: a writer" : weight)]),
    ...(fence === undefined ? [] : [fact("fence", make("span", { class: "number" }, fence))])
  )
  const item = make("li", { class: "card" }, make("p", { class: "who" }, labelled(label)), facts)
  if (revoked !== undefined) {
    item.append(make(
      "p",
      { class: "revoked" },
      make("span", { class: "badge" }, "revoked"),
      " ",
      foreign(revoked),
      ". It is renewed no more, and the name stays taken until its end."
    ))
  }
  if (revoke !== undefined) {
    const button = make("button", { type: "button", class: "danger" }, "Revoke…")
    button.dataset["fence"] = fence ?? ""
    button.addEventListener("click", () => revoke(holder))
    item.append(button)
  }
  return item
}

const waiterOf = ({ label, since, weight }: WaiterTold): HTMLElement =>
  make(
    "li",
    {},
    labelled(label),
    make("span", { class: "quiet" }, weight === undefined ? " " : ` ${weightText(weight)} `),
    running(runUp, since, "number quiet")
  )

const words: Readonly<Record<string, string>> = {
  Taken: "taken",
  Released: "released",
  Expired: "expired",
  Lost: "lost: renewed too late",
  Revoked: "revoked",
  Refused: "a revocation was refused",
  Deadlock: "deadlock"
}

const eventOf = (event: EventTold, now: number): HTMLElement => {
  const { at, fence, label, millis, reason, who } = event
  const lasted = millis === undefined
    ? undefined
    : event.event === "Taken"
    ? millis < 1 ? undefined : `after ${took(millis)} of waiting`
    : `after ${took(millis)}`
  return make(
    "li",
    { class: `event ${event.event.toLowerCase()}` },
    make("time", { class: "number quiet", datetime: new Date(at).toISOString() }, clock(at, now)),
    make("span", { class: "what" }, words[event.event] ?? event.event),
    make(
      "span",
      { class: "rest" },
      ...(label === undefined ? [] : [foreign(label), " "]),
      ...(who === undefined ? [] : ["by ", foreign(who), " "]),
      ...(reason === undefined ? [] : ["“", foreign(reason), "” "]),
      make(
        "span",
        { class: "quiet" },
        [lasted, fence === undefined ? undefined : `fence ${fence}`].filter((part) => part !== undefined).join(", ")
      )
    )
  )
}

/** Whether the button that has the focus is one of these, by the fence of its holder. */
const focusedFence = (): string | undefined => {
  const { activeElement } = document
  return activeElement instanceof HTMLButtonElement ? activeElement.dataset["fence"] : undefined
}

const showName = (told: NameTold, revoke: ((holder: HolderTold) => void) | undefined): void => {
  const { held, holders, limit, waiters, waiting } = told
  const heldText = held > holders.length
    ? `held by ${count(held)}: the first ${count(holders.length)} are shown`
    : "held"
  say(find("#held"), holders.length === 0 ? "free" : heldText)
  find("#held").dataset["is"] = holders.length === 0 ? "free" : "held"
  say(find("#limit"), limit === undefined ? "" : limit === "shared" ? "readers and writers" : `${limit} permits`)
  const focused = focusedFence()
  find("#holders").replaceChildren(...holders.map((holder) => holderOf(holder, revoke)))
  if (focused !== undefined) {
    find("#holders").querySelector<HTMLElement>(`button[data-fence="${CSS.escape(focused)}"]`)?.focus()
  }
  find("#free").hidden = holders.length > 0
  say(find("#waiting"), waiting === 0 ? "Nobody waits" : `${count(waiting)} ${waiting === 1 ? "waits" : "wait"}`)
  find("#queue").replaceChildren(...waiters.map(waiterOf))
  const more = waiting - waiters.length
  find("#more").hidden = more <= 0
  say(find("#more"), `and ${count(more)} more`)
}

/** Begins the page of a name. */
export const beginName = (name: string): void => {
  document.title = `${visible(name)} · locks`
  find("#name").replaceChildren(name === "" ? make("i", {}, "(empty)") : foreign(name))
  const revoke = makeRevoking(name)
  const log = find("#log")
  let canRevoke = false
  let last: NameTold | undefined
  let seen = 0n
  const draw = () => last === undefined ? undefined : showName(last, canRevoke ? revoke : undefined)
  hear(() => `/events?name=${encodeURIComponent(name.toWellFormed())}`, {
    server: (told) => {
      showServer(told)
      canRevoke = told.canRevoke
      find("#history").hidden = !told.canLog
      draw()
    },
    problem: ({ problem }) => showProblem(problem),
    name: (told) => {
      hearNow(told.now)
      last = told
      draw()
    },
    events: ({ events }) => {
      // A stream that begins anew tells what is known already; a server that does, counts anew.
      if (events.length > 0 && BigInt(events.at(-1)!.number) < seen) {
        log.replaceChildren()
        seen = 0n
      }
      for (const event of events) {
        if (BigInt(event.number) <= seen) continue
        seen = BigInt(event.number)
        log.prepend(eventOf(event, serverNow()))
      }
      while (log.childElementCount > maxEvents) log.lastElementChild!.remove()
      find("#no-events").hidden = log.childElementCount > 0
    }
  }, showState)
}
