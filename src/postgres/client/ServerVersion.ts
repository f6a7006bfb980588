/**
 * The oldest server that has every setting that a step needs.
 */
import { DatabaseError } from "../../operation/OperationError.js"

/** PostgreSQL 14, as `server_version_num` has it. */
export const oldestServer = 140000

/** Columns by which a server tells its version: as a number and as text. */
export const serverVersion =
  "current_setting('server_version_num') AS server, current_setting('server_version') AS server_text"

/** The failure of a server that is older. */
export const tooOld = (version: string): DatabaseError =>
  DatabaseError.because("connecting", `the server is PostgreSQL ${version}; 14 or later is needed`)
