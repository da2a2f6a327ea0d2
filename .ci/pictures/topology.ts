/**
 * Three programs, one lock, and what may be beneath.
 */
import { box, headDown, path, svg, text } from "./svg.ts"

const programs = [
  { x: 30, lines: ["program A", "holds order/7, renews it"], kind: "held" },
  { x: 290, lines: ["program B", "waits: it is next"], kind: "next" },
  { x: 550, lines: ["program C", "waits behind B"], kind: "idle" }
] as const

const wide = 220

export const topology = (): string =>
  svg({
    title: "Three programs, one lock",
    description:
      "Program A holds the lock order/7 and renews it; programs B and C wait for it, in the order in which they " +
      "asked. The lock is kept in a store that each asks itself, Postgres, Redis, etcd or a file of SQLite, or by a server, " +
      "dlm serve or JackrabbitDLM.",
    height: 330,
    body: [
      ...programs.map(({ kind, lines, x }) => box(kind, x, 24, wide, 62, lines)),
      path("way", "M140 86V150H284"),
      path("wait", "M400 86V126"),
      path("wait", "M660 86V150H516"),
      path("way", "M277 145L284 150L277 155"),
      headDown("way", 400, 126),
      path("way", "M523 145L516 150L523 155"),
      text(150, 118, "fence 41", "good"),
      text(410, 112, "1st"),
      text(670, 118, "2nd"),
      box("seam", 288, 130, 224, 40, ["order/7"]),
      path("way", "M400 170V204"),
      headDown("way", 400, 204),
      box("idle", 30, 208, 740, 96, []),
      box("paper", 46, 224, 330, 64, ["each asks the store itself", "Postgres, Redis, etcd, a SQLite file"]),
      text(400, 261, "or", "text", "middle"),
      box("paper", 424, 224, 330, 64, ["a server keeps it for them", "dlm serve; JackrabbitDLM"])
    ]
  })
