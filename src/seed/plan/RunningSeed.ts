/**
 * The seed that another process is in: found by the session that holds the lock, and by an attempt that has not ended.
 */
import * as Option from "effect/Option"
import type { Attempt } from "../../operation/Attempt.js"
import type { LockHolder } from "../../operation/OperationError.js"
import * as RecordedTime from "../../operation/RecordedTime.js"
import * as StepName from "../../operation/StepName.js"

/** A seed that a process is in at the moment. */
export interface RunningSeed {
  readonly id: string
  readonly host: string
  /** The process of the server whose session holds the lock. */
  readonly serverPid: number
  /** The process that runs it, where its attempt is on record: that of a seed outside any transaction. */
  readonly pid: Option.Option<number>
  /** ISO 8601, UTC; a role may not see since when another's transaction runs. */
  readonly since: Option.Option<string>
}

/** The one among these seeds, which have no marker, that is running. */
export const find = (
  ids: ReadonlyArray<string>,
  lastAttempts: ReadonlyMap<string, Attempt>,
  holder: Option.Option<LockHolder>
): Option.Option<RunningSeed> => {
  if (Option.isNone(holder)) return Option.none()
  const { applicationName, pid: serverPid, since } = holder.value
  const begun = (id: string) => {
    const attempt = lastAttempts.get(id)
    return attempt?.outcome === "running" ? Option.some(attempt) : Option.none()
  }
  const ofAttempt = (id: string, { host, pid, startedAt }: Attempt): RunningSeed => ({
    id,
    host,
    serverPid,
    pid: Option.some(pid),
    since: Option.some(RecordedTime.format(startedAt))
  })
  const name = StepName.read(applicationName)
  // A body may have given its session another name: then only its attempt tells.
  if (Option.isNone(name)) {
    const [newest] = ids.flatMap((id) => Option.toArray(begun(id))).toSorted((a, b) => b.id - a.id)
    return Option.map(Option.fromNullable(newest), (attempt) => ofAttempt(attempt.operationId, attempt))
  }
  const { host } = name.value
  const named = ids.filter((id) => StepName.isOf(name.value, id))
  // Of ids that are the same as far as the name has them, the first is next in its turn.
  const id = named.find((candidate) => candidate === name.value.of) ?? named[0]
  return Option.map(Option.fromNullable(id), (found) =>
    Option.match(begun(found), {
      onNone: () => ({ id: found, host, serverPid, pid: Option.none(), since }),
      onSome: (attempt) => ofAttempt(found, attempt)
    })
  )
}
