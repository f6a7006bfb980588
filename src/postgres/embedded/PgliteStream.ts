/**
 * The wire between the driver and an embedded PostgreSQL: a stream that answers by itself, so that one adapter serves both.
 */
import type { PGlite } from "@electric-sql/pglite"
import { Duplex } from "node:stream"

/** What the driver expects of a socket beyond a stream. */
export class PgliteStream extends Duplex {
  constructor(readonly database: PGlite) {
    super()
  }

  connect(): this {
    process.nextTick(() => this.emit("connect"))
    return this
  }

  setNoDelay(): this {
    return this
  }

  setKeepAlive(): this {
    return this
  }

  ref(): this {
    return this
  }

  unref(): this {
    return this
  }

  override _read(): void {}

  override _write(chunk: Uint8Array, _encoding: string, done: (error?: Error) => void): void {
    this.database
      .runExclusive(() => this.database.execProtocolRaw(withCopyEnded(chunk)))
      .then(
        (answer) => {
          if (answer.length > 0) this.push(Buffer.from(answer))
          done()
        },
        (error) => done(error)
      )
  }

  /** A server ends the session of a connection that is closed; here there is one, which goes on as a new one would be. */
  override _destroy(error: Error | null, done: (error: Error | null) => void): void {
    this.database
      .runExclusive(async () => {
        await this.database.execProtocolRaw(query("ROLLBACK"))
        await this.database.execProtocolRaw(query("DISCARD ALL"))
      })
      .then(
        () => done(error),
        () => done(error)
      )
  }

  override _final(done: () => void): void {
    this.push(null)
    done()
  }
}

/**
 * The message, and behind one that copies from the client the end of what there is to copy, which is nothing: the database would wait for it in
 * the thread that is to send it. Elsewhere the server passes it over (PostgreSQL manual, 54.2.6).
 */
const withCopyEnded = (chunk: Uint8Array): Uint8Array => {
  const copies =
    chunk[0] === "Q".charCodeAt(0) && /\bcopy\b[^;]*\bfrom\s+stdin\b/i.test(Buffer.from(chunk).toString("latin1"))
  return new Uint8Array(copies ? Buffer.concat([chunk, message("f", "No source stream defined")]) : chunk)
}

/** The message that asks for this statement (PostgreSQL manual, 54.7, Query). */
const query = (text: string): Uint8Array => new Uint8Array(message("Q", text))

const message = (type: string, text: string): Buffer => {
  const bytes = Buffer.from(`${type}    ${text}\0`)
  bytes.writeInt32BE(bytes.length - 1, 1)
  return bytes
}
