/**
 * A Redis of our own, on a free port, that keeps nothing.
 */
import { spawn, spawnSync } from "node:child_process"
import { once } from "node:events"
import * as net from "node:net"

export interface Redis {
  readonly port: number
  readonly stop: () => Promise<void>
}

const freePort = async (): Promise<number> => {
  const server = net.createServer().listen(0, "127.0.0.1")
  await once(server, "listening")
  const { port } = server.address() as net.AddressInfo
  server.close()
  await once(server, "close")
  return port
}

/** Starts it; undefined where Redis is not installed. */
export const startRedis = async (): Promise<Redis | undefined> => {
  if (spawnSync("redis-server", ["--version"]).error !== undefined) return undefined
  const port = await freePort()
  const child = spawn("redis-server", ["--port", String(port), "--save", "", "--appendonly", "no"], {
    stdio: ["ignore", "pipe", "inherit"]
  })
  for await (const chunk of child.stdout) if (String(chunk).includes("Ready to accept connections")) break
  child.stdout.resume()
  return {
    port,
    stop: async () => {
      child.kill("SIGTERM")
      await once(child, "exit")
    }
  }
}
