/**
 * The names that are held, as the page knows them: which of them are shown, and in which order.
 */
import type { NamesTold, Row } from "./Told.ts"

/** By what names are put in order. */
export type Order = "name" | "since" | "endsAt" | "held" | "waiting"

/** Which names are shown. */
export interface Wanted {
  readonly prefix: string
  readonly order: Order
  readonly isDescending: boolean
  /** Of the pages of rows, from 0. */
  readonly page: number
}

/** What is shown. */
export interface Shown {
  readonly rows: ReadonlyArray<Row>
  /** How many names begin with the prefix. */
  readonly count: number
  readonly page: number
  readonly pages: number
}

/** So many rows the page has at a time: more would slow the browser down, and nobody reads them. */
export const rowsOfPage = 100

/** Takes in what has changed. */
export const take = (rows: Map<string, Row>, told: NamesTold): void => {
  if (told.isWhole) rows.clear()
  for (const name of told.gone) rows.delete(name)
  for (const row of told.rows) rows.set(row.name, row)
}

// What is not known comes last either way.
const valueOf = (row: Row, order: Exclude<Order, "name">): number | undefined => row[order]

const comparing = ({ isDescending, order }: Wanted) => (one: Row, other: Row): number => {
  const sign = isDescending ? -1 : 1
  if (order !== "name") {
    const [left, right] = [valueOf(one, order), valueOf(other, order)]
    if (left !== right) {
      if (left === undefined) return 1
      if (right === undefined) return -1
      return left < right ? -sign : sign
    }
  }
  return one.name === other.name ? 0 : one.name < other.name ? -sign : sign
}

/** Which rows are to be seen. */
export const shown = (rows: ReadonlyMap<string, Row>, wanted: Wanted): Shown => {
  const found: Array<Row> = []
  for (const row of rows.values()) if (row.name.startsWith(wanted.prefix)) found.push(row)
  found.sort(comparing(wanted))
  const pages = Math.max(1, Math.ceil(found.length / rowsOfPage))
  const page = Math.min(wanted.page, pages - 1)
  return { rows: found.slice(page * rowsOfPage, (page + 1) * rowsOfPage), count: found.length, page, pages }
}
