/**
 * Redis, Postgres and etcd servers, started on free ports where their programs are installed.
 */
import { execFileSync, spawn } from "node:child_process"
import { once } from "node:events"
import * as fs from "node:fs"
import * as net from "node:net"
import * as os from "node:os"
import * as path from "node:path"

/** A server that runs. */
export interface Running {
  readonly port: number
  readonly pid: number
  readonly stop: () => Promise<void>
}

const freePort = async (): Promise<number> => {
  const server = net.createServer().listen(0, "127.0.0.1")
  await once(server, "listening")
  const { port } = server.address() as net.AddressInfo
  server.close()
  await once(server, "close")
  return port
}

/** Finds a program in the PATH, or among those of Postgres, which Debian keeps in a folder of each version. */
const find = (program: string): string | undefined => {
  const postgres = "/usr/lib/postgresql"
  const versions = fs.existsSync(postgres) ? fs.readdirSync(postgres).map((one) => path.join(postgres, one, "bin")) : []
  return [...(process.env["PATH"] ?? "").split(":"), ...versions].map((folder) => path.join(folder, program)).find(
    (file) => fs.existsSync(file)
  )
}

const accepts = (port: number): Promise<boolean> =>
  new Promise((resolve) => {
    const socket = net.connect(port, "127.0.0.1", () => {
      socket.destroy()
      resolve(true)
    })
    socket.on("error", () => resolve(false))
  })

/** Starts a program that gets a port and an empty folder; undefined where it is not installed. */
const start = async (
  program: string,
  argsOf: (port: number, folder: string) => ReadonlyArray<string>,
  { account = {}, isReady = accepts }: {
    readonly account?: { readonly uid?: number; readonly gid?: number }
    readonly isReady?: (port: number, folder: string) => boolean | Promise<boolean>
  } = {}
): Promise<Running | undefined> => {
  const file = find(program)
  if (file === undefined) return undefined
  const folder = fs.mkdtempSync(path.join(os.tmpdir(), `dlm-bench-${program}-`))
  if (account.uid !== undefined && account.gid !== undefined) fs.chownSync(folder, account.uid, account.gid)
  const port = await freePort()
  const child = spawn(file, argsOf(port, folder), { ...account, cwd: folder, stdio: "ignore" })
  while (child.exitCode === null && !(await isReady(port, folder))) {
    await new Promise((resolve) => setTimeout(resolve, 50))
  }
  return {
    port,
    pid: child.pid!,
    stop: async () => {
      child.kill("SIGINT")
      await once(child, "exit")
      fs.rmSync(folder, { recursive: true, force: true })
    }
  }
}

/** A Redis that writes nothing to its disk. */
export const startRedis = () =>
  start("redis-server", (port) => ["--port", String(port), "--save", "", "--appendonly", "no"])

/** One member of etcd, as it is by default. */
export const startEtcd = async () => {
  const peer = await freePort()
  return start("etcd", (port, folder) => [
    `--data-dir=${folder}`,
    `--listen-client-urls=http://127.0.0.1:${port}`,
    `--advertise-client-urls=http://127.0.0.1:${port}`,
    `--listen-peer-urls=http://127.0.0.1:${peer}`,
    `--initial-advertise-peer-urls=http://127.0.0.1:${peer}`,
    `--initial-cluster=default=http://127.0.0.1:${peer}`
  ])
}

/** A Postgres as it is by default, that trusts its user `postgres`. As root it runs as Debian's account of that name. */
export const startPostgres = () => {
  const initdb = find("initdb")
  if (initdb === undefined) return Promise.resolve(undefined)
  const [uid, gid] = process.getuid?.() === 0
    ? /^postgres:[^:]*:(\d+):(\d+):/m.exec(fs.readFileSync("/etc/passwd", "utf8"))!.slice(1, 3).map(Number)
    : []
  const account = uid === undefined || gid === undefined ? {} : { uid, gid }
  return start("postgres", (port, folder) => {
    execFileSync(initdb, ["-D", path.join(folder, "data"), "-U", "postgres", "--auth=trust", "--no-sync"], {
      ...account,
      cwd: folder,
      stdio: "ignore"
    })
    return ["-D", path.join(folder, "data"), "-p", String(port), "-c", "listen_addresses=127.0.0.1", "-k", ""]
  }, {
    account,
    // It accepts connections before it can be used, and refuses what they ask, so its own file has to say that it is ready.
    isReady: (_, folder) => {
      const state = path.join(folder, "data", "postmaster.pid")
      return fs.existsSync(state) && fs.readFileSync(state, "utf8").trimEnd().endsWith("ready")
    }
  })
}
