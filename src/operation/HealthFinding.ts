/**
 * Makes findings, for whatever looks at a database or at seeds.
 */
import * as Option from "effect/Option"
import type { Finding } from "./DatabaseHealth.js"

/** A finding that needs nothing done. */
export const fine = (name: string, detail: string): Finding => ({ name, fault: "none", detail, fix: Option.none() })

/** A finding that a person should act on. */
export const wrong = (name: string, fault: "state" | "database", detail: string, fix: string): Finding => ({
  name,
  fault,
  detail,
  fix: Option.some(fix)
})
