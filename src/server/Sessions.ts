/**
 * The sessions of clients: a client that connects anew says by a secret that it is the same, and its earlier connection
 * ends before anything on the new one is answered.
 */

/** A connection that may be replaced. */
export interface Replaceable {
  /** Ends the connection, with all that it has unread or waiting. */
  replace(): void
}

/** The connection of each session, as long as it is open. */
export class Sessions {
  private readonly bySecret = new Map<string, Replaceable>()

  /** Says that a session is on this connection from now on. */
  begin(secret: string, connection: Replaceable): void {
    const earlier = this.bySecret.get(secret)
    this.bySecret.set(secret, connection)
    // mutant: session-ends-earlier
    if (earlier !== connection) earlier?.replace()
  }

  /** Says that a connection has ended, or has another session now. */
  end(secret: string, connection: Replaceable): void {
    if (this.bySecret.get(secret) === connection) this.bySecret.delete(secret)
  }

  /** How many sessions there are. */
  get size(): number {
    return this.bySecret.size
  }
}
