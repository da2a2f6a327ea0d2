/**
 * Times that run down, or up, on the page, without asking the server.
 */
import { say } from "./dom.ts"
import { serverNow } from "./ServerClock.ts"
import { clock, duration } from "./time.ts"

/** How often they are written anew, in milliseconds. */
const tickEvery = 100

/** Lets an element say how long something still takes. */
export const runDown = (element: HTMLElement, endsAt: number | undefined): void => {
  delete element.dataset["since"]
  if (endsAt === undefined) {
    delete element.dataset["ends"]
    return say(element, "–")
  }
  element.dataset["ends"] = String(endsAt)
  write(element, serverNow())
}

/** Lets an element say how long something takes already. */
export const runUp = (element: HTMLElement, since: number | undefined): void => {
  if (since === undefined) {
    delete element.dataset["since"]
    element.removeAttribute("title")
    return say(element, "–")
  }
  element.dataset["since"] = String(since)
  element.title = `since ${clock(since, serverNow())}`
  write(element, serverNow())
}

const write = (element: HTMLElement, now: number): void => {
  const { ends, since } = element.dataset
  if (ends !== undefined) {
    const left = Number(ends) - now
    say(element, duration(left))
    element.classList.toggle("soon", left < 5000)
  } else if (since !== undefined) {
    // To whole seconds: what began long ago need not hurry.
    say(element, duration(Math.floor(Math.max(0, now - Number(since)) / 1000) * 1000).replace(".0 s", " s"))
  }
}

/** Begins to write them anew. */
export const tick = (): void => {
  setInterval(() => {
    if (document.hidden) return
    const now = serverNow()
    for (const element of document.querySelectorAll<HTMLElement>("[data-ends],[data-since]")) write(element, now)
  }, tickEvery)
}
