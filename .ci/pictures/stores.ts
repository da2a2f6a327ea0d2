/**
 * How to choose a store, by the advice of docs/STORES.md.
 */
import { box, headDown, headRight, path, svg, text } from "./svg.ts"

const choices: ReadonlyArray<{
  readonly question: ReadonlyArray<string>
  readonly store: string
  readonly because: string
}> = [
  {
    question: ["One process, or one server,", "that may forget at a restart?"],
    store: "memory",
    because: "tests, and what is not worth keeping"
  },
  { question: ["Are all on one machine?"], store: "SQLite", because: "a file: nothing to run" },
  { question: ["Is there a Postgres already?"], store: "Postgres", because: "as durable as your data" },
  {
    question: ["Would two holders at once cost more", "than some milliseconds at each grant?"],
    store: "etcd",
    because: "holds when a machine is lost"
  }
]

const high = 58
const step = 84
const topOf = (i: number) => 20 + i * step

export const stores = (): string =>
  svg({
    title: "How to choose a store",
    description: `${
      choices.map(({ question, store }) => `${question.join(" ")} Then ${store}.`).join(" Else: ")
    } Else Redis, with a fence that catches the rare double grant.`,
    height: topOf(choices.length) + high + 20,
    body: [
      ...choices.flatMap(({ because, question, store }, i) => {
        const y = topOf(i)
        const middle = y + high / 2
        return [
          box("idle", 30, y, 330, high, question, question.length),
          path("way", `M360 ${middle}H456`),
          headRight("way", 456, middle),
          text(408, middle - 7, "yes", "good", "middle"),
          box("held", 460, y, 310, high, [store, because]),
          path("way", `M195 ${y + high}V${y + step - 4}`),
          headDown("way", 195, y + step - 4),
          text(205, y + high + 18, "no")
        ]
      }),
      box("held", 30, topOf(choices.length), 330, high, ["Redis", "fast; a fence catches a rare double grant"])
    ]
  })
