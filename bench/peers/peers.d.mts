export interface Peer {
  readonly lockAndUnlock: (name: string) => Promise<void>
  readonly stop: () => Promise<unknown>
}
export interface HoldingPeer extends Peer {
  readonly hold: (name: string, body: () => Promise<void>) => Promise<void>
}
export const bare: (port: number) => Peer
export const redlock: (port: number) => HoldingPeer
export const redisSemaphore: (port: number) => HoldingPeer
export const effectDistributedLock: (port: number) => Omit<HoldingPeer, "lockAndUnlock">
export const etcd3: (port: number) => Peer
export const redisPermits: (port: number, permits: number) => Omit<HoldingPeer, "lockAndUnlock">
