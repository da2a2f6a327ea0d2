/**
 * The page of all names that are held.
 */
import { find, foreign, make, say } from "./dom.ts"
import { hear } from "./Live.ts"
import { pathOf } from "./paths.ts"
import { makePlots } from "./plots.ts"
import { takePoints } from "./plotting.ts"
import { runDown, runUp } from "./remaining.ts"
import * as Rows from "./Rows.ts"
import { hearNow, serverNow } from "./ServerClock.ts"
import { showProblem, showServer, showState } from "./status.ts"
import { count } from "./time.ts"
import type { Point, Row } from "./Told.ts"
import { visible } from "./visible.ts"

/** A row of the table, and what it shows. */
interface Drawn {
  readonly element: HTMLTableRowElement
  readonly cells: ReadonlyArray<HTMLTableCellElement>
  row: Row | undefined
}

const begin = (name: string): Drawn => {
  const link = make("a", { href: pathOf(name) }, name === "" ? make("i", {}, "(empty)") : foreign(name))
  const cells = ["holder", "since number", "ends number", "held number", "waiting number"].map((kind) =>
    make("td", { class: kind })
  )
  return { element: make("tr", {}, make("th", { scope: "row" }, link), ...cells), cells, row: undefined }
}

const heldText = ({ held, limit }: Row): string =>
  limit === undefined || limit === "shared" ? count(held) : `${count(held)} of ${limit}`

const write = (drawn: Drawn, row: Row): void => {
  if (drawn.row === row) return
  const [holder, since, ends, held, waiting] = drawn.cells as [
    HTMLTableCellElement,
    HTMLTableCellElement,
    HTMLTableCellElement,
    HTMLTableCellElement,
    HTMLTableCellElement
  ]
  if (drawn.row?.label !== row.label || drawn.row?.revoked !== row.revoked || drawn.row?.held !== row.held) {
    holder.replaceChildren(
      row.label === undefined ? make("span", { class: "quiet" }, "no label") : foreign(row.label),
      ...(row.held > 1 ? [make("span", { class: "quiet" }, ` and ${count(row.held - 1)} more`)] : []),
      ...(row.revoked === undefined ? [] : [" ", make("span", { class: "badge" }, "revoked")])
    )
  }
  runUp(since, row.since)
  runDown(ends, row.endsAt)
  say(held, heldText(row))
  say(waiting, count(row.waiting))
  waiting.classList.toggle("none", row.waiting === 0)
  drawn.row = row
}

/** The rows of the table: a name keeps its element, so that what has the focus keeps it. */
const makeTable = () => {
  const body = find<HTMLTableSectionElement>("#names tbody")
  let drawn = new Map<string, Drawn>()
  return (rows: ReadonlyArray<Row>) => {
    const next = new Map(rows.map((row) => [row.name, drawn.get(row.name) ?? begin(row.name)]))
    for (const [name, { element }] of drawn) if (!next.has(name)) element.remove()
    drawn = next
    let at = body.firstElementChild
    for (const row of rows) {
      const one = drawn.get(row.name)!
      write(one, row)
      if (one.element === at) at = at.nextElementSibling
      else body.insertBefore(one.element, at)
    }
  }
}

/** The column by which names are in order, as the heads of the table show it. */
const makeHeads = (wanted: { order: Rows.Order; isDescending: boolean }, changed: () => void) => {
  const heads = Array.from(document.querySelectorAll<HTMLTableCellElement>("#names thead th"))
  const show = () => {
    for (const head of heads) {
      if (head.dataset["order"] !== wanted.order) head.removeAttribute("aria-sort")
      else head.setAttribute("aria-sort", wanted.isDescending ? "descending" : "ascending")
    }
  }
  for (const head of heads) {
    head.querySelector("button")?.addEventListener("click", () => {
      const order = head.dataset["order"] as Rows.Order
      // What one looks for first: the most, but of names the first, and of ends the next.
      wanted.isDescending = wanted.order === order ? !wanted.isDescending : order === "held" || order === "waiting"
      wanted.order = order
      show()
      changed()
    })
  }
  show()
}

/** Moves from row to row by the arrows, or by j and k, to the search by /, and back by Escape. */
const listenToKeys = (search: HTMLInputElement): void => {
  document.addEventListener("keydown", (event) => {
    if (event.ctrlKey || event.metaKey || event.altKey) return
    const isTyping = event.target === search
    if (event.key === "/" && !isTyping) {
      event.preventDefault()
      return search.select()
    }
    const step = event.key === "ArrowDown" || (event.key === "j" && !isTyping)
      ? 1
      : event.key === "ArrowUp" || (event.key === "k" && !isTyping)
      ? -1
      : 0
    if (step === 0) return
    const links = Array.from(document.querySelectorAll<HTMLElement>("#names tbody a"))
    const at = links.indexOf(document.activeElement as HTMLElement)
    if (at === -1 && !isTyping && event.key.startsWith("Arrow")) return
    event.preventDefault()
    if (at === 0 && step === -1) search.focus()
    else links[at === -1 ? 0 : at + step]?.focus()
  })
}

/** What stands where there are no rows. */
const showEmpty = (prefix: string, isHeard: boolean, found: number): void => {
  find("#empty").hidden = !isHeard || found > 0
  find("#names").hidden = found === 0
  say(find("#empty-title"), prefix === "" ? "No name is held" : "No name that is held begins so")
  const open = find<HTMLAnchorElement>("#open")
  open.hidden = prefix === ""
  open.href = pathOf(prefix)
  say(open, `Open ${visible(prefix)}`)
}

const showPages = ({ count: found, page, pages }: Rows.Shown, isCut: boolean): void => {
  const first = page * Rows.rowsOfPage
  const range = pages === 1
    ? `${count(found)} ${found === 1 ? "name" : "names"}`
    : `${count(first + 1)}–${count(Math.min(found, first + Rows.rowsOfPage))} of ${count(found)} names`
  say(find("#count"), isCut ? `${range}, and more: search to see them` : range)
  find("#pages").hidden = pages === 1
  find<HTMLButtonElement>("#earlier").disabled = page === 0
  find<HTMLButtonElement>("#later").disabled = page === pages - 1
}

/** Turns the pages of rows. */
const listenToPages = (wanted: { page: number }, draw: () => void): void => {
  for (const [id, step] of [["#earlier", -1], ["#later", 1]] as const) {
    find(id).addEventListener("click", () => {
      wanted.page = Math.max(0, wanted.page + step)
      draw()
      find("#names").scrollIntoView({ block: "start" })
    })
  }
}

/** Which names the server tells of: all, or those that begin so, where it has too many to tell all. */
interface Heard {
  prefix: string
  isCut: boolean
}

/** Looks for what is typed: here where all such names are known, and else at the server, once nothing is typed any more. */
const listenToSearch = (
  search: HTMLInputElement,
  wanted: Rows.Wanted & { prefix: string; page: number },
  heard: Heard,
  now: {
    readonly draw: () => void
    readonly restart: () => void
  }
): void => {
  let later: ReturnType<typeof setTimeout> | undefined
  search.addEventListener("input", () => {
    wanted.prefix = search.value
    wanted.page = 0
    now.draw()
    clearTimeout(later)
    if (wanted.prefix.startsWith(heard.prefix) && !heard.isCut) return
    later = setTimeout(() => {
      heard.prefix = wanted.prefix
      now.restart()
    }, 300)
  })
  search.form?.addEventListener("submit", (event) => {
    event.preventDefault()
    location.href = pathOf(search.value)
  })
}

/** How long after a part of the names was told they are drawn, in milliseconds. */
const drawnWithin = 30

/**
 * Does it soon, once: a long list is told in many parts, and each puts all names in order anew. By a timer, since a browser has
 * no frames for a page that stands behind another.
 */
const soon = (draw: () => void) => {
  let isDue = false
  return () => {
    if (isDue) return
    isDue = true
    setTimeout(() => {
      isDue = false
      draw()
    }, drawnWithin)
  }
}

/** Begins the page. */
export const beginList = (): void => {
  const rows = new Map<string, Row>()
  const points = new Map<number, Point>()
  const search = find<HTMLInputElement>("#search")
  const wanted = { prefix: search.value, order: "name" as Rows.Order, isDescending: false, page: 0 }
  const heard: Heard = { prefix: "", isCut: false }
  let isHeard = false
  let hasHistory = false
  const drawRows = makeTable()
  const drawPlots = makePlots()
  const draw = () => {
    const shown = Rows.shown(rows, wanted)
    wanted.page = shown.page
    drawRows(shown.rows)
    showPages(shown, heard.isCut)
    showEmpty(wanted.prefix, isHeard, shown.count)
  }
  const drawSoon = soon(draw)
  const live = hear(
    () => heard.prefix === "" ? "/events" : `/events?prefix=${encodeURIComponent(heard.prefix.toWellFormed())}`,
    {
      server: showServer,
      problem: ({ problem }) => showProblem(problem),
      names: (told) => {
        hearNow(told.now)
        Rows.take(rows, told)
        heard.isCut = told.isCut
        isHeard = true
        drawSoon()
      },
      rates: (told) => {
        takePoints(points, told.points, told.now)
        hasHistory = told.isKnown
        drawPlots(points, told.now, hasHistory)
      }
    },
    showState
  )
  listenToSearch(search, wanted, heard, { draw, restart: live.restart })
  makeHeads(wanted, draw)
  listenToPages(wanted, draw)
  listenToKeys(search)
  setInterval(() => isHeard && !document.hidden ? drawPlots(points, serverNow(), hasHistory) : undefined, 1000)
}
