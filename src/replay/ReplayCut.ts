/**
 * Where a replay is cut, and how it goes: in the cursor of its run, for every process that works on its lanes.
 */
import * as Option from "effect/Option"
import * as Schema from "effect/Schema"
import type { RunHandle } from "../operation/OperationRun.js"

const Text = Schema.optional(Schema.UndefinedOr(Schema.String))
const Day = Schema.optional(Schema.UndefinedOr(Schema.Date))

/** The events that are meant, the inner ends of the lanes, and the pace of all of them together. */
export const ReplayCut = Schema.Struct({
  selection: Schema.Struct({
    after: Schema.BigInt,
    upTo: Schema.BigInt,
    types: Schema.optional(Schema.UndefinedOr(Schema.Array(Schema.String))),
    tenantId: Text,
    aggregateId: Text,
    since: Day,
    until: Day,
    withoutArchived: Schema.optional(Schema.UndefinedOr(Schema.Boolean))
  }),
  boundaries: Schema.Array(Schema.String),
  rate: Schema.optional(Schema.UndefinedOr(Schema.Number)),
  concurrency: Schema.Number,
  onError: Schema.Literal("stop", "continue")
})
export type ReplayCut = typeof ReplayCut.Type

const encode = Schema.encodeSync(ReplayCut)

/** As the cursor has it. */
export const cursorOf = (cut: ReplayCut): unknown => encode(cut)

/** That of a run, once it was cut. */
export const of = ({ cursor }: Pick<RunHandle, "cursor">): Option.Option<ReplayCut> =>
  Option.flatMap(cursor, Schema.decodeUnknownOption(ReplayCut))
