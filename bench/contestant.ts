/**
 * One contestant, in a process of its own: does what it is told to by messages, and says when it has.
 */
import { contestants } from "./contestants.ts"

const [name, where] = process.argv.slice(2) as [keyof typeof contestants, string]
const lockAndUnlock = await contestants[name](where)
process.on("message", async (times: number) => {
  await lockAndUnlock(times)
  process.send!("done")
})
process.on("disconnect", () => process.exit())
process.send!("ready")
