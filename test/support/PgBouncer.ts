/**
 * PgBouncer in transaction mode before the test server, where it is installed (Debian: pgbouncer).
 */
import { spawn } from "node:child_process"
import { once } from "node:events"
import { existsSync } from "node:fs"
import { chmod, mkdtemp, rm, writeFile } from "node:fs/promises"
import { tmpdir } from "node:os"
import { join } from "node:path"
import type { Address } from "./TestServer.js"
import * as TestServer from "./TestServer.js"

const binary = ["/usr/sbin/pgbouncer", "/usr/bin/pgbouncer", "/opt/homebrew/bin/pgbouncer"].find(existsSync)

/** Whether it can be started here. */
export const isInstalled = binary !== undefined

/** Its port, and how to stop it; a client is let in without a password, and has one session for each transaction. */
export const start = async (
  server: Address
): Promise<{ readonly port: number; readonly close: () => Promise<void> }> => {
  const folder = await mkdtemp(join(tmpdir(), "es-ops-pgbouncer-"))
  await chmod(folder, 0o755)
  const port = await TestServer.freePort()
  const file = join(folder, "pgbouncer.ini")
  await writeFile(
    file,
    `[databases]
* = host=${server.host} port=${server.port} user=${server.user} password=${server.password}
[pgbouncer]
listen_addr = 127.0.0.1
listen_port = ${port}
auth_type = any
pool_mode = transaction
unix_socket_dir =
ignore_startup_parameters = extra_float_digits
`
  )
  const child = spawn(binary ?? "pgbouncer", [file], {
    ...(await TestServer.unprivileged()),
    stdio: ["ignore", "ignore", "pipe"]
  })
  let log = ""
  await new Promise<void>((resolve, reject) => {
    child.stderr.on("data", (chunk: Buffer) => {
      log += chunk.toString()
      if (log.includes("process up")) resolve()
    })
    child.once("exit", () => reject(new Error(`PgBouncer did not start:\n${log}`)))
  })
  return {
    port,
    close: async () => {
      const exited = once(child, "exit")
      child.kill("SIGTERM")
      await exited
      await rm(folder, { recursive: true, force: true })
    }
  }
}
