/**
 * A way from one port to another.
 */
import { Effect } from "effect"
import * as net from "node:net"

/** Leads from one port to another, for as long as the scope lives. */
export const forward = (from: number, to: number) =>
  Effect.acquireRelease(
    Effect.callback<{ readonly close: () => void; readonly letIn: (open: boolean) => void }>((resume) => {
      const sockets = new Set<net.Socket>()
      let open = true
      const server = net.createServer((near) => {
        if (!open) return void near.destroy()
        const far = net.connect(to, "127.0.0.1")
        for (const socket of [near, far]) sockets.add(socket.on("error", () => socket.destroy()))
        near.pipe(far).pipe(near)
      })
      server.listen(from, "127.0.0.1", () =>
        resume(Effect.succeed({
          close: () => {
            server.close()
            for (const socket of sockets) socket.destroy()
          },
          /** Whether connections that begin from now on are led on, or closed. */
          letIn: (its) => void (open = its)
        })))
    }),
    ({ close }) => Effect.sync(close)
  )
