/**
 * A way from one port to another.
 */
import { Effect } from "effect"
import * as net from "node:net"

/** What can be done to a way. */
export interface Way {
  readonly close: () => void
  /** Whether connections that begin from now on are led on, or closed. */
  readonly letIn: (open: boolean) => void
  /** Where connections that begin from now on are led to. Those that are there stay. */
  readonly leadTo: (port: number) => void
  /**
   * Nothing comes through any more on the connections that are there, and neither end hears of it. Gives how many they are.
   * With `newToo` those that begin from now on are silent as well, for ever.
   */
  readonly silence: (options?: { readonly newToo?: boolean }) => number
  /** Connections that begin from now on are led through again. */
  readonly letThrough: () => void
  /** How often something was sent there since. */
  readonly swallowed: () => number
}

/** Leads from one port to another, for as long as the scope lives. */
export const forward = (from: number, to: number) =>
  Effect.acquireRelease(
    Effect.callback<Way>((resume) => {
      const sockets = new Set<net.Socket>()
      const silent = new WeakSet<net.Socket>()
      let open = true
      let target = to
      let swallowed = 0
      let isSilent = false
      const server = net.createServer((near) => {
        if (!open) return void near.destroy()
        const far = net.connect(target, "127.0.0.1")
        for (const [socket, other] of [[near, far], [far, near]] as const) {
          sockets.add(socket)
          if (isSilent) silent.add(socket)
          socket.on("error", () => socket.destroy())
          socket.on("close", () => sockets.delete(socket))
          socket.on("data", (chunk) => {
            if (silent.has(socket)) swallowed++
            else other.write(chunk)
          })
          socket.on("end", () => silent.has(socket) || other.end())
        }
      })
      server.listen(from, "127.0.0.1", () =>
        resume(Effect.succeed({
          close: () => {
            server.close()
            for (const socket of sockets) socket.destroy()
          },
          letIn: (its) => void (open = its),
          leadTo: (port) => void (target = port),
          silence: ({ newToo = false } = {}) => {
            isSilent = newToo
            for (const socket of sockets) silent.add(socket)
            return sockets.size / 2
          },
          letThrough: () => void (isSilent = false),
          swallowed: () => swallowed
        })))
    }),
    ({ close }) => Effect.sync(close)
  )
