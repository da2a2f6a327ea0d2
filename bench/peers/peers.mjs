/**
 * The other libraries: one function each that connects, and gives what locks and unlocks.
 */
import { Redlock } from "@sesamecare-oss/redlock"
import { Effect } from "effect"
import { DistributedSemaphore, RedisBacking } from "effect-distributed-lock"
import { Etcd3 } from "etcd3"
import Redis from "ioredis"
import { Mutex, Semaphore } from "redis-semaphore"

const connect = (port) => new Redis({ port, host: "127.0.0.1" })

/** `SET NX PX` and `DEL`, as bare as it can be. */
export const bare = (port) => {
  const redis = connect(port)
  return {
    lockAndUnlock: async (name) => {
      await redis.set(name, "owner", "PX", 30_000, "NX")
      await redis.del(name)
    },
    stop: () => redis.quit()
  }
}

export const redlock = (port) => {
  const redis = connect(port)
  const locks = new Redlock([redis], { retryCount: -1, retryDelay: 5 })
  return {
    lockAndUnlock: async (name) => {
      const lock = await locks.acquire([name], 30_000)
      await lock.release()
    },
    hold: async (name, body) => {
      const lock = await locks.acquire([name], 30_000)
      await body()
      await lock.release()
    },
    stop: () => redis.quit()
  }
}

export const redisSemaphore = (port) => {
  const redis = connect(port)
  const run = async (name, body) => {
    const mutex = new Mutex(redis, name, { lockTimeout: 30_000, refreshInterval: 10_000, acquireTimeout: 60_000 })
    await mutex.acquire()
    await body()
    await mutex.release()
  }
  return { lockAndUnlock: (name) => run(name, () => {}), hold: run, stop: () => redis.quit() }
}

export const redisPermits = (port, permits) => {
  const redis = connect(port)
  const options = { lockTimeout: 30_000, refreshInterval: 10_000, acquireTimeout: 60_000 }
  return {
    hold: async (name, body) => {
      const semaphore = new Semaphore(redis, name, permits, options)
      await semaphore.acquire()
      await body()
      await semaphore.release()
    },
    stop: () => redis.quit()
  }
}

/** This library needs Effect 3, which is installed beside this file. */
export const effectDistributedLock = (port) => {
  const redis = connect(port)
  const layer = RedisBacking.layer(redis, { keyPrefix: "bench:" })
  const semaphore = Effect.runPromise(
    Effect.provide(
      DistributedSemaphore.make("contended", { limit: 1, ttl: "30 seconds", acquireRetryInterval: "5 millis" }),
      layer
    )
  )
  return {
    hold: async (_name, body) => {
      const { withPermits } = await semaphore
      return Effect.runPromise(Effect.promise(body).pipe(withPermits(1)))
    },
    stop: () => redis.quit()
  }
}

export const etcd3 = (port) => {
  const client = new Etcd3({ hosts: `http://127.0.0.1:${port}` })
  return {
    lockAndUnlock: async (name) => {
      const lock = client.lock(name).ttl(30)
      await lock.acquire()
      await lock.release()
    },
    stop: async () => client.close()
  }
}
