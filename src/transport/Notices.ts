/**
 * What clients are told without having asked: that a tenure was revoked.
 *
 * It is told to all who listen, whoever has the tenure: names and fences are no secrets, and it is seldom.
 */
import type { Response } from "../protocol/Protocol.ts"

/** A tenure was revoked. */
export type Notice = Extract<Response, { readonly Status: "Notice" }>

type Listener = (notice: Notice) => void

/** Those who listen. */
export class Notices {
  private readonly listeners = new Set<Listener>()

  /** Tells it each notice from now on. Gives what ends that. */
  listen(listener: Listener): () => void {
    this.listeners.add(listener)
    return () => void this.listeners.delete(listener)
  }

  /** Tells all. One that throws hurts no other. */
  tell(notice: Notice): void {
    for (const listener of this.listeners) {
      try {
        listener(notice)
      } catch {
        // It is the listener's own: a connection that ends tells so by itself.
      }
    }
  }
}
