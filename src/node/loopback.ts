/**
 * Addresses that only this machine can reach.
 */
import * as Net from "node:net"

/** Whether a host is this machine, for itself alone. A name may begin like an address: 127.example.com is somewhere else. */
export const isLoopback = (host: string): boolean =>
  host === "localhost" || host === "::1" || (Net.isIPv4(host) && host.startsWith("127."))
