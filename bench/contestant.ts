/**
 * One contestant, in a process of its own: a message tells it how many times to lock and unlock, and it answers when it
 * has.
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
