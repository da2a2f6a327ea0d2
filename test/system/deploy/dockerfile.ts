/**
 * What a Dockerfile says, as far as deploy/Dockerfile goes.
 */

/** One instruction, such as `RUN npm install`. */
export interface Instruction {
  readonly name: string
  readonly text: string
}

/** Its stages, each with its instructions in order. */
export const stagesOf = (dockerfile: string): ReadonlyArray<ReadonlyArray<Instruction>> => {
  const stages: Array<Array<Instruction>> = []
  const lines = dockerfile.replace(/^#.*\n/gm, "").replace(/\\\n\s*/g, "").split("\n").filter((line) => line !== "")
  for (const line of lines) {
    const [, name = "", text = ""] = /^([A-Z]+) (.*)$/.exec(line) ?? []
    if (name === "FROM") stages.push([])
    stages.at(-1)!.push({ name, text })
  }
  return stages
}

/** The one instruction of a name. */
export const only = (stage: ReadonlyArray<Instruction>, name: string): string => {
  const found = stage.filter((instruction) => instruction.name === name)
  if (found.length !== 1) throw new Error(`${found.length} times ${name}`)
  return found[0]!.text
}

/** What an instruction runs that is written as JSON, such as `CMD ["serve"]`. */
export const execOf = (text: string): ReadonlyArray<string> => JSON.parse(text.slice(text.indexOf("[")))

/** The variables of an `ENV`. */
export const variablesOf = (text: string): Readonly<Record<string, string>> =>
  Object.fromEntries(text.split(" ").map((pair) => pair.split(/=(.*)/s).slice(0, 2)))
