/**
 * The guard cursor of a step, by which an end of its transaction that is not ours is found out. Search path and role decide where the marker
 * goes and who writes it: what the step began with is put back before.
 */
import * as Option from "effect/Option"
import * as Predicate from "effect/Predicate"
import { randomUUID } from "node:crypto"
import { literal, names, quote } from "../client/SqlText.js"

/** The guard of one step. */
export interface CommitGuard {
  /** Sets it, behind the claim. */
  readonly set: string
  /** Takes it away: fails with `noCursor` where the body ended the transaction, or where it is gone already. */
  readonly close: string
}

/** invalid_cursor_name: there is none of this name. */
export const noCursor = "34000"

/**
 * A holdable cursor is computed at COMMIT, and this one cannot be: a COMMIT that is not ours fails (22012) and takes everything with it. After
 * a ROLLBACK that is not ours the cursor is gone (34000). Its name is one that the body cannot know, as a body that closed it could commit.
 */
export const make = (): CommitGuard => {
  const name = `es_ops_guard_${randomUUID().replaceAll("-", "")}`
  return {
    set: `DECLARE ${name} CURSOR WITH HOLD FOR SELECT 1/(random()*0)::int`,
    close: `CLOSE ${name}`
  }
}

/** Who the session is, and where it finds tables. */
export interface SessionIdentity {
  readonly search_path: string
  readonly role: string
}

/** Columns by which that is read. */
export const identityColumns = "current_setting('search_path') AS search_path, current_setting('role') AS role"

/** Whether a row has these columns. */
export const isIdentity = (row: unknown): row is SessionIdentity =>
  Predicate.hasProperty(row, "search_path") &&
  Predicate.isString(row.search_path) &&
  Predicate.hasProperty(row, "role") &&
  Predicate.isString(row.role)

/** The text that puts it back, for the session as well, where a plain SET would outlive the transaction. */
export const reset = ({ role, search_path }: SessionIdentity): string => {
  const path = Option.match(names(search_path), {
    onNone: () => `SELECT set_config('search_path', ${literal(search_path)}, false)`,
    onSome: (all) => `SET search_path = ${all.map(quote).join(", ")}`
  })
  return `${path}; SET ROLE ${role === "none" ? "NONE" : quote(role)}`
}
