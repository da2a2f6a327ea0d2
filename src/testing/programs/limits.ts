/**
 * Names that several hold: never more than their limit, readers and writers never together, and another limit is told only
 * where there is one.
 */
import { insists } from "./bounds.ts"
import { deafTimeout } from "./faults.ts"
import { type History, type Operation, show, type Tenure } from "./History.ts"
import { isHold } from "./Program.ts"
import type { Shared } from "./Trace.ts"
import type { Violation } from "./Violation.ts"

export const limits = (history: History): ReadonlyArray<Violation> => {
  const operations = Array.from(history.operations.values())
  const ofEach = [otherShare, conflict].flatMap((rule) => operations.flatMap((operation) => rule(history, operation)))
  return [...tooMany(history), ...ofEach]
}

/** Whether these can be inside at once. A mutex is alone. */
export const fit = (shares: ReadonlyArray<Shared | undefined>): boolean => {
  const [first] = shares
  if (shares.length < 2) return true
  if (first === undefined || shares.some((share) => share?.limit !== first.limit)) return false
  return first.limit === "shared"
    ? shares.every((share) => share?.weight !== "all")
    : shares.reduce((sum, share) => sum + Number(share!.weight), 0) <= first.limit
}

const isAlive = ({ from, to }: Tenure, at: number, slack: number): boolean => from <= at && at < to - slack

// As the store knows it. Each that begins is held against those before it that go on.
const tooMany = ({ slack, tenures }: History): ReadonlyArray<Violation> => {
  const shared = new Set(tenures.flatMap(({ name, share }) => share === undefined ? [] : [name]))
  return tenures.flatMap((tenure, i): ReadonlyArray<Violation> => {
    const { from, name } = tenure
    if (!shared.has(name)) return []
    const before = tenures.slice(0, i).filter((other) => other.name === name && isAlive(other, from, slack))
    const together = [...before, tenure]
    return fit(together.map(({ share }) => share)) ? [] : [{
      rule: "limit",
      at: from,
      what: `${name} was held together with ${
        together.map(({ share }) => share === undefined ? "a mutex" : `${share.weight} of ${share.limit}`).join(", ")
      }`
    }]
  })
}

// Whoever is inside holds as much as it asked for; a reader within a writer has more than it needs.
const otherShare = (history: History, operation: Operation): ReadonlyArray<Violation> => {
  const { entered, id, names } = operation
  if (entered === undefined) return []
  return names.flatMap((name): ReadonlyArray<Violation> => {
    const asked = history.shareOf(operation, name)
    const tenure = history.tenureOf(operation, name, entered)
    if (asked === undefined || tenure === undefined || !history.askersOf(tenure).has(id)) return []
    const { share } = tenure
    return share?.limit === asked.limit && share.weight === asked.weight ? [] : [{
      rule: "limit",
      at: entered,
      what: `${
        show(operation)
      } asked for ${asked.weight} of ${asked.limit}, and has ${share?.weight} of ${share?.limit}`
    }]
  })
}

const fails = ({ outcome }: Operation, error: string): boolean => outcome?.errors.includes(error) === true

// Another number of permits is told only where somebody had named it.
const conflict = (history: History, operation: Operation): ReadonlyArray<Violation> => {
  const isThere = operation.names.some((name) => {
    const own = history.shareOf(operation, name)
    return own !== undefined && contenders(history, operation, name).some((other) => {
      const share = history.shareOf(other, name)
      return share !== undefined && share.limit !== own.limit
    })
  })
  return isThere || !fails(operation, "Conflict") ? [] : [{
    rule: "evidence",
    at: operation.ended,
    what: `${show(operation)} says that there is another limit, and nobody had named one`
  }]
}

/** The others that held a name, or waited for it, while one did; what they take back goes on behind them. */
const contenders = (history: History, { began, ended, id }: Operation, name: string): ReadonlyArray<Operation> => {
  const { faults, latency } = history.trace.program
  const isDeaf = faults.some(({ kind }) => kind === "deaf")
  const late = faults.length === 0 ? latency * 4 : insists + (isDeaf ? deafTimeout : 0)
  return Array.from(history.operations.values()).filter((other) =>
    other.id !== id && isHold(other.step) && other.names.includes(name) &&
    other.began <= ended && Math.max(other.ended, lastEnd(history, other, name)) + late + history.slack >= began
  )
}

// What was detached, or could not be given back, goes on without it.
const lastEnd = (history: History, { id }: Operation, name: string): number =>
  Math.max(
    0,
    ...history.tenures.map((tenure) => tenure.name === name && history.askersOf(tenure).has(id) ? tenure.to : 0)
  )

// Where nothing goes wrong, who is in a round trip after it asked has not waited for anybody.
const hasWaited = (history: History, operation: Operation): boolean => {
  const { faults, latency, processes } = history.trace.program
  const [first] = history.asked(operation)
  const isStill = faults.length > 0 || processes.some((_, process) => history.stillOf(process).length > 0)
  return isStill || operation.entered === undefined || operation.step.op !== "hold" || first === undefined ||
    operation.entered > first.asked.at + 2 * latency + history.slack
}

/** Whether others held so much of a name, while one waited, that it did not fit, or somebody else waited too. */
export const mayBeFull = (history: History, operation: Operation, name: string): boolean => {
  const { began, ended, id } = operation
  const others = contenders(history, operation, name)
  const waits = others.some((other) =>
    ((other.entered ?? Infinity) > began || other.ended <= began) && hasWaited(history, other)
  )
  if (waits || !history.seesStore) return others.length > 0
  const share = history.shareOf(operation, name)
  // What a reader or a writer is within is its own, until that is over, or let go of; permits are counted.
  const around = history.isDetached(name, operation.process)
    ? new Set<number>()
    : new Set(history.around(operation).flatMap((around) => around.left > ended ? [around.id] : []))
  const isOwn = (asker: number) => asker === id || (share?.limit === "shared" && around.has(asker))
  const held = history.tenures.filter((tenure) =>
    tenure.name === name && !Array.from(history.askersOf(tenure)).some(isOwn) && tenure.from <= ended &&
    (tenure.isForgotten ? tenure.until : tenure.to) >= began
  )
  // The most of them at once: as one of them begins, or this does.
  return [began, ...held.map(({ from }) => from)].some((at) => {
    const together = held.filter((tenure) => isAlive(tenure, Math.max(at, began), 0))
    return !fit([share, ...together.map(({ share }) => share)])
  })
}
