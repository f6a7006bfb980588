/**
 * `schema`: prints the statements that an administrator runs where the application's role may not create tables: those that create everything,
 * those that a database lacks, or those that let a role apply.
 */
import * as Options from "@effect/cli/Options"
import * as Effect from "effect/Effect"
import * as Option from "effect/Option"
import * as EsOps from "../../EsOps.js"
import * as SeedDocument from "../../seed/record/SeedDocument.js"
import { UsageError } from "../UsageError.js"
import type { CommonGiven, DatabaseGiven } from "../input/CommandOptions.js"
import { commonOptions, databaseOptions } from "../input/CommandOptions.js"
import * as ConfigFile from "../input/ConfigFile.js"
import * as DatabaseChoice from "../input/DatabaseChoice.js"
import * as Settings from "../input/Settings.js"
import * as Documents from "../output/Documents.js"
import { Terminal } from "../output/Terminal.js"
import * as CommandRun from "./CommandRun.js"
import { clientOn } from "./CommandClient.js"

const { databaseUrl, embedded, embeddedDir } = databaseOptions

export const options = {
  diff: Options.boolean("diff").pipe(
    Options.withDescription(
      "What the database lacks of it, and what changes tables that are otherwise; nothing where it is complete"
    )
  ),
  grants: Options.text("grants").pipe(
    Options.withPseudoName("role"),
    Options.withDescription("In its place the GRANTs that let a role apply, to be run once the tables are there"),
    Options.optional
  ),
  databaseUrl,
  embedded,
  embeddedDir,
  ...commonOptions
}

type Given = CommonGiven &
  Pick<DatabaseGiven, "databaseUrl" | "embedded" | "embeddedDir"> & {
    readonly diff: boolean
    readonly grants: Option.Option<string>
  }

/** Prints the statements; gives the exit code. */
export const run = (given: Given): Effect.Effect<number, never, Terminal> =>
  CommandRun.run(
    given.json,
    Effect.gen(function* () {
      const terminal = yield* Terminal
      const statements = yield* chosen(given)
      const text = statements.map((statement) => `${statement};`).join("\n\n")
      if (given.json) yield* terminal.out(Documents.encode(SeedDocument.SchemaDocument, { statements }))
      else if (text !== "") yield* terminal.out(text)
      return 0
    })
  )

const chosen = (given: Given) =>
  Effect.gen(function* () {
    if (given.diff && Option.isSome(given.grants))
      return yield* new UsageError({ reason: "--diff and --grants print different things: give one of them" })
    const role = Option.getOrUndefined(given.grants)
    if (role !== undefined && !isRole(role))
      return yield* new UsageError({ reason: `--grants: "${role}" is no name of a role, which has 1 to 63 bytes` })
    const file = yield* ConfigFile.load(given.config)
    if (role !== undefined) return yield* EsOps.grants(file, role)
    if (!given.diff) return yield* EsOps.ddl(file)
    const lockTimeout = yield* Settings.lockTimeoutOf(Option.none(), file)
    const client = yield* clientOn(yield* DatabaseChoice.choose(given, file), lockTimeout)
    return yield* Effect.provide(EsOps.difference({ ...file, lockTimeout }), client)
  })

/** A longer name is cut off by the server, and may be another role's then. */
const isRole = (name: string): boolean =>
  name !== "" && new TextEncoder().encode(name).length <= 63 && !name.includes("\u0000")
