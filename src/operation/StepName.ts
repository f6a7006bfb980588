/**
 * The name that a session has while it is in a step: `es-ops`, the host, and what the step is of. Others see by it who holds the lock.
 */
import * as Option from "effect/Option"

/** What PostgreSQL keeps of a name: printable ASCII, and not more than this. */
export const longest = 63

/** What is not kept of a name, or would need quoting. */
export const unprintable = /[^\x20-\x7E]|['\\]/g

/** What a long name leaves of the host, at least. */
export const shortestHost = 15

/** A step, as the name of its session has it. */
export interface StepName {
  readonly host: string
  /** The operation's id, or what else the step is of; as much of it as fits. */
  readonly of: string
  readonly isCut: boolean
}

/** Reads a name; none where it is not that of a step. */
export const read = (applicationName: string): Option.Option<StepName> => {
  const [, host, of] = /^es-ops (\S+) (.+)$/s.exec(applicationName) ?? []
  return host === undefined || of === undefined
    ? Option.none()
    : Option.some({ host, of, isCut: applicationName.length >= longest })
}

/** Whether a step may be that of this operation. */
export const isOf = ({ isCut, of }: StepName, id: string): boolean => {
  const kept = id.replaceAll(unprintable, "?")
  return kept === of || (isCut && kept.startsWith(of))
}
