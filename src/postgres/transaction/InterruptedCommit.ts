/**
 * A COMMIT whose step was interrupted before the server answered. The server may have committed all the same: a wait for a synchronous standby that
 * is cancelled leaves what is durable here. So it is asked, on the same connection, where the answer comes behind that of the COMMIT.
 */
import type { Connection } from "@effect/sql/SqlConnection"
import * as Effect from "effect/Effect"
import * as Option from "effect/Option"
import * as BoundedWait from "../../operation/BoundedWait.js"
import type { StepRecord } from "../../operation/Transactor.js"
import * as DriverAccess from "../client/DriverAccess.js"
import type { PgSchema } from "../schema/PgSchema.js"
import * as LogStatement from "../log/LogStatement.js"
import type { StepConnection } from "./StepConnection.js"

/** What became of the transaction; open: it goes on, and can be undone. */
export type Fate = "open" | "committed" | "rolledBack" | "unknown"

/** The transaction of the step. */
interface Committing {
  readonly connection: Connection
  readonly step: StepConnection
  readonly schema: PgSchema["Type"]
}

/** How long the server has to answer: the cancellation goes over another connection, which may have to be opened. A process that ends waits longer. */
const patience = "1200 millis"

/** Asks what became of it. Where nothing was to be recorded, nothing tells. */
export const fate = (
  { connection, schema, step }: Committing,
  record: Option.Option<StepRecord>
): Effect.Effect<Fate> =>
  Effect.gen(function* () {
    // The driver gives a failure before the server has told the state that it left: another statement is answered behind that.
    const settled = Effect.ignore(step.sendInstead("SELECT 1"))
    yield* Effect.zipRight(settled, settled)
    const status = Option.getOrElse(DriverAccess.transactionStatus(connection), () => "unknown")
    if (status === "T" || status === "E") return "open"
    if (status !== "I" || Option.isNone(record)) return "unknown"
    const tables = { markers: schema.markers, attempts: schema.has(schema.attempts) ? schema.attempts : undefined }
    const found = yield* step.sendInstead(LogStatement.recordSelect(tables, record.value))
    return (found.at(-1)?.rows.length ?? 0) > 0 ? "committed" : "rolledBack"
  }).pipe(
    (asked) => BoundedWait.within(asked, patience),
    Effect.orElseSucceed((): Fate => "unknown")
  )
