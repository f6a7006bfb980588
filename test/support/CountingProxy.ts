/**
 * A wire to the server that counts what the server answers: round trips by ReadyForQuery, statements by CommandComplete (PostgreSQL manual,
 * 54.7).
 */
import { once } from "node:events"
import type { Socket } from "node:net"
import { connect, createServer } from "node:net"

export interface Counts {
  readonly roundTrips: number
  readonly statements: number
  /** Those that were opened. */
  readonly connections: number
}

export interface CountingProxy {
  readonly port: number
  /** What was counted since the last time. */
  readonly take: () => Counts
  readonly close: () => Promise<void>
}

export const start = async (server: { readonly host: string; readonly port: number }): Promise<CountingProxy> => {
  const none: Counts = { roundTrips: 0, statements: 0, connections: 0 }
  let counts = none
  const sockets = new Set<Socket>()
  const proxy = createServer((client) => {
    counts = { ...counts, connections: counts.connections + 1 }
    const upstream = connect(server)
    for (const socket of [client, upstream]) {
      sockets.add(socket)
      socket.on("error", () => undefined)
      socket.on("close", () => {
        client.destroy()
        upstream.destroy()
      })
    }
    client.on("data", (chunk: Buffer) => upstream.write(chunk))
    let rest = Buffer.alloc(0)
    upstream.on("data", (chunk: Buffer) => {
      rest = Buffer.concat([rest, chunk])
      // Type, then the length, which counts itself and not the type.
      while (rest.length >= 5 && rest.length > rest.readInt32BE(1)) {
        const type = String.fromCharCode(rest.readUInt8(0))
        if (type === "Z") counts = { ...counts, roundTrips: counts.roundTrips + 1 }
        if (type === "C") counts = { ...counts, statements: counts.statements + 1 }
        rest = rest.subarray(1 + rest.readInt32BE(1))
      }
      client.write(chunk)
    })
  }).listen(0, "127.0.0.1")
  await once(proxy, "listening")
  const address = proxy.address()
  return {
    port: address !== null && typeof address === "object" ? address.port : 0,
    take: () => {
      const counted = counts
      counts = none
      return counted
    },
    close: async () => {
      for (const socket of sockets) socket.destroy()
      proxy.close()
      await once(proxy, "close")
    }
  }
}
