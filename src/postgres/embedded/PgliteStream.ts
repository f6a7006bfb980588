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

  /** A server ends the transaction of a connection that is closed; here there is one session, which goes on. */
  override _destroy(error: Error | null, done: (error: Error | null) => void): void {
    this.database.exec("ROLLBACK").then(
      () => done(error),
      () => done(error)
    )
  }

  override _final(done: () => void): void {
    this.push(null)
    done()
  }
}
