/**
 * The store in etcd.
 */

/** Where entries live: in etcd, over any HttpClient. */
export * as EtcdStore from "./EtcdStore.ts"
/** The same over Node's own connections, with TLS, and from the configuration. */
export * as NodeEtcdStore from "./NodeEtcdStore.ts"
