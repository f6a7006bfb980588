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
      .runExclusive(() => this.database.execProtocolRaw(new Uint8Array(chunk)))
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

/** The message that asks for this statement (PostgreSQL manual, 54.7, Query). */
const query = (text: string): Uint8Array => {
  const message = Buffer.from(`Q    ${text}\0`)
  message.writeInt32BE(message.length - 1, 1)
  return new Uint8Array(message)
}
