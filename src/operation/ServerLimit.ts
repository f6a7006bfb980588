/**
 * Limits of the server that a transaction ran into, and what to do about each: the server's own words rarely say.
 */
import * as Option from "effect/Option"

/** untranslatable_character: the encoding of the database does not hold it. */
export const untranslatable = "22P05"

/** By SQLSTATE (PostgreSQL manual, appendix A; most are of classes 53 and 54). */
const remedies: { readonly [code: string]: string } = {
  [untranslatable]:
    "the encoding of the database does not hold that character: leave it out, or move to a database with the encoding UTF8",
  "53100": "the server's disk is full: free or add space there",
  "53200":
    "the server has no memory left for it, most often for its locks, as each sql.withTransaction and each table that is touched keeps one until the transaction ends: use fewer parts, do the work in batches (several seeds, or several rows in one part), or raise max_locks_per_transaction",
  "53300": "the server has no connection left: close some, or raise max_connections",
  "53400": "a setting of the server bounds it: raise that setting, or do the work in batches",
  "54000": "it is more than the server can hold: do the work in batches",
  "54001": "a statement is nested too deeply: take it apart, or raise max_stack_depth",
  "54023": "a function or statement has too many arguments: do the work in batches"
}

/** What to do about the limit that this SQLSTATE stands for, if it is one. */
export const remedyOf = (code: string | null | undefined): Option.Option<string> =>
  Option.flatMapNullable(Option.fromNullable(code), (known) => remedies[known])
