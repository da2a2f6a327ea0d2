/**
 * An orphan: a name that the server grants to an owner that has given it back, and was told so. Nobody holds it, and it is
 * kept from all until its time to live ends.
 *
 * A server that knows `session` grants none to a client's own late requests. One that repeats a request for a lock on a
 * connection of its own, as a proxy does, cannot be told from a client; but one that means a tenure takes no name, however
 * late it comes. So only owners of which a request was repeated before their body began are excused.
 */
import type { Protocol } from "effect-dlm/protocol"
import type { Operation } from "../../support/history/History.ts"
import { granteeOf, ownerOf } from "../../support/history/tenures.ts"

/** What is known of owners that nobody has chosen: each is one tenure's, and never used again. */
export class Orphans {
  private readonly isChosen: (id: string) => boolean
  private readonly held = new Set<string>()
  private readonly released = new Set<string>()
  private readonly excused = new Set<string>()
  /** The tenures that owners were told of, by their fences. */
  private readonly told = new Set<string>()

  constructor(isChosen: (id: string) => boolean) {
    this.isChosen = isChosen
  }

  /** A body begins under the owner. */
  began(owner: { readonly id: string; readonly name: string }): void {
    this.held.add(ownerOf(owner))
  }

  /** A request left that will be sent once more, on a connection of its own. */
  repeats(request: Protocol.Request): void {
    const owner = ownerOf({ id: request.ID, name: request.FileName })
    if ((request.Action === "Lock" || request.Action === "Put") && !this.held.has(owner)) this.excused.add(owner)
    // A store far away may have done it long before the server hears of that.
    const heir = ownerOf({ id: request.Heir ?? request.ID, name: request.FileName })
    if (request.Heir !== undefined && !this.held.has(heir)) this.excused.add(heir)
  }

  /** A client heard an answer. */
  heard(operation: Operation): void {
    const { action, id, meant, name, response } = operation
    if (response?.Status === "Locked") this.told.add(`${granteeOf(operation)} ${response.Fence}`)
    if (action === "Unlock" && meant !== 0n && response?.Status === "Unlocked" && !this.isChosen(id)) {
      this.released.add(ownerOf({ id, name }))
    }
  }

  /** The server answers. Gives what cannot be, if this is an orphan. */
  served({ Action, FileName, Heir, ID }: Protocol.Request, response: Protocol.Response): string | undefined {
    const { Status } = response
    if (!(Action === "Lock" && Status === "Locked") && !(Action === "Put" && Status === "Done")) return undefined
    const owner = granteeOf({ id: ID, heir: Action === "Lock" ? Heir : undefined, name: FileName })
    // Of a store far away the server may hear late: of a tenure that its owner was told of otherwise, and has given back.
    if (response.Status === "Locked" && this.told.has(`${owner} ${response.Fence}`)) return undefined
    return this.released.has(owner) && !this.excused.has(owner)
      ? `an orphan: ${FileName} was granted to ${Heir ?? ID}, which had given it back`
      : undefined
  }
}
