/**
 * A wire to the server that breaks at COMMIT: once armed, the first COMMIT gets through, or not, and its answer never comes back.
 */
import { once } from "node:events"
import type { Socket } from "node:net"
import { connect, createServer } from "node:net"

export interface CommitProxy {
  readonly port: number
  /** The next COMMIT breaks the wire: `after` the server has answered it, or `before` it is sent. */
  readonly arm: (when: "before" | "after") => void
  readonly close: () => Promise<void>
}

/** The end of a simple query whose last statement is COMMIT (PostgreSQL manual, 54.7). */
const commit = Buffer.from("COMMIT\0")

export const start = async (server: { readonly host: string; readonly port: number }): Promise<CommitProxy> => {
  let armed: "before" | "after" | undefined
  const sockets = new Set<Socket>()
  const proxy = createServer((client) => {
    const upstream = connect(server)
    let breaking = false
    for (const socket of [client, upstream]) {
      sockets.add(socket)
      socket.on("error", () => undefined)
      socket.on("close", () => {
        client.destroy()
        upstream.destroy()
      })
    }
    client.on("data", (chunk: Buffer) => {
      const when = chunk.includes(commit) ? armed : undefined
      if (when !== undefined) armed = undefined
      if (when === "before") client.destroy()
      else {
        breaking = when === "after"
        upstream.write(chunk)
      }
    })
    upstream.on("data", (chunk: Buffer) => {
      if (breaking) client.destroy()
      else client.write(chunk)
    })
  }).listen(0, "127.0.0.1")
  await once(proxy, "listening")
  const address = proxy.address()
  return {
    port: address !== null && typeof address === "object" ? address.port : 0,
    arm: (when) => {
      armed = when
    },
    close: async () => {
      for (const socket of sockets) socket.destroy()
      proxy.close()
      await once(proxy, "close")
    }
  }
}
