/**
 * A wire to the server that stops at a named point of a step, so that something can go wrong exactly there.
 */
import { once } from "node:events"
import type { Socket } from "node:net"
import { connect, createServer } from "node:net"

/**
 * Where a step can be stopped, by what the client sends there; `answered` stops when the server's answer comes. Marker and COMMIT travel
 * together: what happens between them happens on the server.
 */
const points = {
  "before the lock": { sent: "BEGIN ISOLATION LEVEL", answered: false },
  "before the body": { sent: "SAVEPOINT es_ops_step", answered: true },
  "before a savepoint": { sent: "SAVEPOINT es_ops_1", answered: false },
  "between its writes": { sent: "INSERT INTO ledger", answered: false },
  "inside a statement": { sent: "pg_sleep", answered: false },
  "before marker and COMMIT": { sent: "COMMIT\0", answered: false },
  "after COMMIT, before the report": { sent: "COMMIT\0", answered: true }
} as const

export type Point = keyof typeof points

export const pointNames: ReadonlyArray<Point> = [
  "before the lock",
  "before the body",
  "between its writes",
  "inside a statement",
  "before marker and COMMIT",
  "after COMMIT, before the report"
]

/** The connection that was stopped. */
export interface Stopped {
  /** The server's process, as it announced it. */
  readonly backend: number
  /** Lets what was held go on. */
  readonly resume: () => void
  /** Ends the wire on both sides, with what was held lost. */
  readonly cut: () => void
  /** The same, but as a machine on the way does it that has forgotten the connection (RST). */
  readonly reset: () => void
}

/** What becomes of a wire that fails: its ends are told, and new connections are refused; or nothing that is sent arrives. */
export type Outage = "reset" | "silent"

export interface FaultProxy {
  readonly port: number
  /** Fails for everybody, until what it answers with is called. */
  readonly fail: (outage: Outage) => () => void
  /** The next time that a client is at the point, after `passes` times, it is held there; once. */
  readonly stopAt: (point: Point, passes: number) => Promise<Stopped>
  readonly close: () => Promise<void>
}

export const start = async (server: { readonly host: string; readonly port: number }): Promise<FaultProxy> => {
  let armed: { readonly point: Point; passes: number; readonly hit: (stopped: Stopped) => void } | undefined
  const sockets = new Set<Socket>()
  let outage: Outage | undefined
  const proxy = createServer((client) => {
    if (outage === "reset") return void client.resetAndDestroy()
    const upstream = connect(server)
    let backend = 0
    let holding: ((stopped: Stopped) => void) | undefined
    const cut = () => {
      client.destroy()
      upstream.destroy()
    }
    const reset = () => {
      client.resetAndDestroy()
      upstream.resetAndDestroy()
    }
    for (const socket of [client, upstream]) {
      sockets.add(socket)
      socket.on("error", () => undefined)
      socket.on("close", () => {
        sockets.delete(socket)
        cut()
      })
    }
    const hold = (to: Socket, chunk: Buffer, hit: (stopped: Stopped) => void) =>
      hit({ backend, cut, reset, resume: () => void (to.destroyed || to.write(chunk)) })
    client.on("data", (chunk: Buffer) => {
      if (armed !== undefined && chunk.includes(points[armed.point].sent) && armed.passes-- === 0) {
        const { hit, point } = armed
        armed = undefined
        if (!points[point].answered) return hold(upstream, chunk, hit)
        holding = hit
      }
      upstream.write(chunk)
    })
    upstream.on("data", (chunk: Buffer) => {
      // BackendKeyData: "K", length 12, process, secret (PostgreSQL manual, 54.7).
      const key = backend === 0 ? chunk.indexOf(Buffer.from("K\0\0\0\u000C")) : -1
      if (key !== -1) backend = chunk.readInt32BE(key + 5)
      if (holding === undefined) return void client.write(chunk)
      const hit = holding
      holding = undefined
      hold(client, chunk, hit)
    })
    if (outage === "silent") for (const socket of [client, upstream]) socket.pause()
  }).listen(0, "127.0.0.1")
  await once(proxy, "listening")
  const address = proxy.address()
  return {
    port: address !== null && typeof address === "object" ? address.port : 0,
    fail: (how) => {
      outage = how
      for (const socket of sockets) {
        if (how === "reset") socket.resetAndDestroy()
        else socket.pause()
      }
      return () => {
        outage = undefined
        for (const socket of sockets) socket.resume()
      }
    },
    stopAt: (point, passes) =>
      new Promise((hit) => {
        armed = { point, passes, hit }
      }),
    close: async () => {
      for (const socket of sockets) socket.destroy()
      proxy.close()
      await once(proxy, "close")
    }
  }
}
