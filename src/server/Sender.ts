/**
 * What the requests of one connection have in common.
 */
import { KeyedMutex } from "../lib/KeyedMutex.ts"

/** Who sends requests over one connection, or as over one. */
export class Sender {
  /** By name: what is asked of one is carried out in the order of its coming. */
  readonly order = new KeyedMutex()
}
