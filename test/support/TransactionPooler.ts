/**
 * A connection pooler in transaction mode, as small as one can be: a client has a session of the server from its first statement until the
 * server is idle again (ReadyForQuery "I"), and the session that was given back last is given out first.
 */
import { once } from "node:events"
import type { Socket } from "node:net"
import { createServer } from "node:net"
import { Duplex } from "node:stream"
import { Client } from "pg"

export interface Pooler {
  readonly port: number
  readonly close: () => Promise<void>
}

/** The messages that a server sends when a client is in: AuthenticationOk, two settings, BackendKeyData of its own invention, ReadyForQuery. */
const welcome = (): Buffer => {
  const message = (type: string, body: Buffer) => {
    const head = Buffer.alloc(5)
    head.write(type)
    head.writeInt32BE(body.length + 4, 1)
    return Buffer.concat([head, body])
  }
  const setting = (name: string, value: string) => message("S", Buffer.from(`${name}\0${value}\0`))
  const key = Buffer.alloc(8)
  key.writeInt32BE(2_000_000_000, 0)
  return Buffer.concat([
    message("R", Buffer.alloc(4)),
    setting("server_version", "18.0"),
    setting("client_encoding", "UTF8"),
    message("K", key),
    message("Z", Buffer.from("I"))
  ])
}

/** Whether the last whole message is a ReadyForQuery that says idle. */
const isIdle = (answer: Buffer): boolean => answer.subarray(-6).equals(Buffer.from("Z\0\0\0\u0005I"))

const wireOf = (client: Client): Duplex => {
  const wire: unknown = Reflect.get(Reflect.get(client, "connection"), "stream")
  if (wire instanceof Duplex) return wire
  throw new Error("the driver keeps its wire elsewhere")
}

interface Session {
  readonly socket: Duplex
  /** The client that has it at the moment. */
  client: Socket | undefined
}

/** Stands before the server of `url`, with `sessions` sessions of it. */
export const start = async (url: string, sessions: number): Promise<Pooler> => {
  const wires: Array<Duplex> = []
  const open = async (): Promise<Session> => {
    const client = new Client({ connectionString: url })
    // Its wire is taken over once it is in; that it ends is no news then.
    client.on("error", () => undefined)
    await client.connect()
    const socket = wireOf(client)
    wires.push(socket)
    socket.removeAllListeners("data")
    const session: Session = { socket, client: undefined }
    socket.on("data", (answer: Buffer) => {
      session.client?.write(answer)
      if (!isIdle(answer)) return
      session.client = undefined
      free.push(session)
      serve()
    })
    return session
  }
  const free: Array<Session> = []
  for (let count = 0; count < sessions; count++) free.push(await open())
  const waiting: Array<{ readonly client: Socket; readonly chunk: Buffer }> = []
  const held = new Map<Socket, () => Session | undefined>()
  const serve = () => {
    while (free.length > 0 && waiting.length > 0) {
      const [next] = waiting.splice(0, 1)
      const session = free.pop()
      if (next === undefined || session === undefined) return
      session.client = next.client
      held.set(next.client, () => (session.client === next.client ? session : undefined))
      session.socket.write(next.chunk)
    }
  }
  const sockets = new Set<Socket>()
  const server = createServer((client) => {
    sockets.add(client)
    client.on("error", () => undefined)
    let started = false
    client.on("data", (chunk: Buffer) => {
      if (!started) {
        started = true
        client.write(welcome())
        return
      }
      // Terminate ("X") ends the client, not the session that it may have had.
      if (chunk.length === 5 && chunk[0] === 0x58) return
      const session = held.get(client)?.()
      if (session === undefined) waiting.push({ client, chunk })
      else session.socket.write(chunk)
      serve()
    })
  }).listen(0, "127.0.0.1")
  await once(server, "listening")
  const address = server.address()
  return {
    port: address !== null && typeof address === "object" ? address.port : 0,
    close: async () => {
      for (const socket of sockets) socket.destroy()
      server.close()
      await once(server, "close")
      for (const wire of wires) wire.destroy()
    }
  }
}
