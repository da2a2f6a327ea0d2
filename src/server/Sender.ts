/**
 * What the requests of one connection have in common.
 */
import { KeyedMutex } from "../lib/KeyedMutex.ts"

/** Who sends requests over one connection, or as over one. */
export class Sender {
  /** Whether it is this process itself, which may do what else only an admin may. */
  readonly isTrusted: boolean
  /** By name: what is asked of one is carried out in the order of its coming. */
  readonly order = new KeyedMutex()

  constructor(isTrusted = false) {
    this.isTrusted = isTrusted
  }
}
