/**
 * The rooms of `src`, the arrows between them, and functions that find what breaks them in a list of imports.
 */
import { posix } from "node:path"

export interface Import {
  readonly file: string
  /** A file of `src`, or the name of a package. */
  readonly from: string
}

const operation = ["operation"]
const seedsKnow = ["identity/Directory.ts", "event", "operation"]
const commandsKnow = [
  "cli",
  "projection",
  "EsOps.ts",
  "RecordLayers.ts",
  "seed",
  "seed/source",
  "seed/plan",
  "seed/run",
  "seed/record",
  "snapshot",
  "replay",
  "backfill",
  "stream",
  "event",
  "operation"
]

/**
 * Which rooms each room may import from. A room is a folder, without the folders in it, or a file that has rules of its own; a room may
 * import from itself.
 */
export const arrows: Readonly<Record<string, ReadonlyArray<string>>> = {
  "bin.ts": ["cli/process"],
  "index.ts": [
    "EsOps.ts",
    "operation",
    "operation/memory",
    "event",
    "projection",
    "stream",
    "identity",
    "seed",
    "seed/source",
    "seed/plan",
    "seed/run",
    "seed/record",
    "snapshot",
    "replay",
    "backfill"
  ],
  "EsOps.ts": [
    "VerifiedBackfill.ts",
    "projection",
    "projection/memory",
    "operation",
    "operation/memory",
    "event",
    "event/memory",
    "stream",
    "stream/memory",
    "identity",
    "identity/memory",
    "seed",
    "seed/source",
    "seed/run",
    "snapshot",
    "snapshot/memory",
    "replay",
    "replay/memory",
    "backfill",
    "backfill/memory",
    "postgres",
    "postgres/embedded"
  ],
  // What looks at seeds, and knows no kind but them.
  "RecordLayers.ts": [
    "operation",
    "event",
    "identity",
    "seed/source",
    "postgres",
    "postgres/client/ClientLayer.ts",
    "postgres/embedded"
  ],
  // Two kinds, which do not know each other.
  "VerifiedBackfill.ts": ["backfill", "projection", "event", "operation"],

  // The lanes of runs on the application's cluster.
  cluster: ["projection", "snapshot", "replay", "backfill", "operation", "postgres/health/ClusterRunners.ts"],

  // process -> commands -> input, output -> what is directly in cli
  cli: commandsKnow,
  "cli/output": commandsKnow,
  "cli/input": commandsKnow,
  "cli/commands": ["cli/input", "cli/output", "postgres/client/UnconnectedClient.ts", ...commandsKnow],
  "cli/process": ["cli/commands", "cli/input", "cli/output", ...commandsKnow],

  // record -> run -> plan -> source -> the words, which are directly in seed
  seed: seedsKnow,
  "seed/source": ["seed", ...seedsKnow],
  "seed/plan": ["seed/source", "seed", ...seedsKnow],
  "seed/run": ["seed/plan", "seed/source", "seed", ...seedsKnow],
  "seed/record": ["seed/run", "seed/plan", "seed/source", "seed", ...seedsKnow],

  // Ports, which know no adapter; a memory layer is one.
  identity: ["event", "operation"],
  "identity/memory": ["identity", "event/memory", "event", "operation/memory", "operation"],
  projection: ["event", "operation"],
  // A kind of operation, which knows no other one.
  snapshot: ["event", "operation"],
  "snapshot/memory": ["snapshot", "event/memory", "event", "operation/memory", "operation"],
  replay: ["event", "operation"],
  "replay/memory": ["replay", "event", "operation/memory", "operation"],
  backfill: ["event", "operation"],
  "backfill/memory": ["backfill", "event/memory", "event", "operation/memory", "operation"],
  "projection/memory": ["projection", "event/memory", "event", "operation/memory", "operation"],
  stream: ["event", "operation"],
  "stream/memory": ["stream", "event/memory", "event", "operation/memory", "operation"],
  event: operation,
  "event/memory": ["event", "operation/memory", "operation"],
  operation: [],
  "operation/memory": operation,

  // Postgres -> a folder for each port, the transaction -> schema -> client. What one port needs of another is a file with no port in it.
  postgres: [
    "postgres/backfill",
    "postgres/directory",
    "postgres/events",
    "postgres/feed",
    "postgres/health",
    "postgres/lock",
    "postgres/log",
    "postgres/projections",
    "postgres/readtables",
    "postgres/replay",
    "postgres/rebuild",
    "postgres/runs",
    "postgres/snapshots",
    "postgres/streams",
    "postgres/transaction",
    "postgres/schema",
    "postgres/client",
    "backfill",
    "stream",
    "identity",
    "replay",
    "snapshot",
    "projection",
    "event",
    "operation"
  ],
  "postgres/backfill": ["postgres/events/PurgedStreams.ts", "postgres/client", "backfill", "event", ...operation],
  "postgres/streams": [
    "postgres/events/PurgedStreams.ts",
    "postgres/feed/Settling.ts",
    "postgres/schema",
    "postgres/client",
    "stream",
    "event",
    ...operation
  ],
  "postgres/embedded": ["postgres/client", ...operation],
  "postgres/directory": ["postgres/client", "identity", ...operation],
  "postgres/events": ["postgres/client", "event", ...operation],
  "postgres/feed": ["postgres/client", "event", ...operation],
  "postgres/health": ["postgres/lock/HolderQuery.ts", "postgres/schema", "postgres/client", ...operation],
  "postgres/lock": ["postgres/schema", "postgres/client", ...operation],
  "postgres/log": ["postgres/schema", "postgres/client", ...operation],
  "postgres/projections": ["postgres/schema", "postgres/client", "event", ...operation],
  "postgres/readtables": ["postgres/client", "event", ...operation],
  "postgres/replay": ["postgres/schema", "postgres/client", "replay", "event", ...operation],
  "postgres/snapshots": [
    "postgres/events/EventRow.ts",
    "postgres/schema",
    "postgres/client",
    "snapshot",
    "event",
    ...operation
  ],
  "postgres/transaction": ["postgres/log/LogStatement.ts", "postgres/schema", "postgres/client", ...operation],
  "postgres/rebuild": [
    "postgres/schema",
    "postgres/client",
    "postgres/feed/FeedRow.ts",
    "projection",
    "event",
    ...operation
  ],
  "postgres/runs": [
    "postgres/log/LogStatement.ts",
    "postgres/transaction/StepStatements.ts",
    "postgres/schema",
    "postgres/client",
    ...operation
  ],
  "postgres/schema": ["postgres/client", "event", ...operation],
  "postgres/client": operation
}

/** Which rooms may import from packages that are somebody's business only. */
const packages: ReadonlyArray<readonly [name: RegExp, rooms: RegExp]> = [
  [/^@effect\/sql/, /^postgres|^(?:EsOps|RecordLayers)\.ts$/],
  [/^@effect\/cli/, /^cli/],
  [/^@effect\/platform-node/, /^cli|^cluster|^bin\.ts$/]
]

/** The room of a file: the folder that it is in, the file itself at the top. */
export const roomOf = (file: string): string => (file.includes("/") ? posix.dirname(file) : file)

/** What a file imports or exports again, as a type too, by a statement or by a call. */
export const importsOf = (file: string, text: string): ReadonlyArray<Import> =>
  // A statement begins a line: what a text or a comment in the source says is none.
  [
    ...text.matchAll(
      /^(?:import|export)\b[^"=`]*\bfrom\s+"([^"]+)"|^import\s+"([^"]+)"|^(?! *(?:\*|\/\/)).*?\bimport\(\s*"([^"]+)"/gm
    )
  ].map(([, statement, effect, call]) => {
    const from = statement ?? effect ?? call ?? ""
    return {
      file,
      from: from.startsWith(".") ? posix.join(posix.dirname(file), from).replace(/\.js$/, ".ts") : from
    }
  })

/** What is wrong with an import, if anything. */
export const violation = ({ file, from }: Import): string | undefined => {
  const here = roomOf(file)
  const at = `${file} imports ${from}`
  if (!from.endsWith(".ts")) {
    if (/^(?:effect|@effect\/[^/]+)$/.test(from)) return `${at}: a barrel`
    return packages.some(([name, rooms]) => name.test(from) && !rooms.test(here)) ? at : undefined
  }
  const there = roomOf(from)
  const [, owner] = /^(.+)\/internal(?:\/|$)/.exec(there) ?? []
  if (owner !== undefined) return file.startsWith(`${owner}/`) ? undefined : `${at}: it is internal to ${owner}`
  const allowed = arrows[here] ?? []
  return here === there || allowed.includes(there) || allowed.includes(from) ? undefined : at
}

/** The first circle of imports that is found from any of the files, as the way around it. */
export const circle = (
  files: ReadonlyArray<string>,
  imports: ReadonlyArray<Import>
): ReadonlyArray<string> | undefined => {
  const next = new Map(files.map((file) => [file, imports.filter((i) => i.file === file).map((i) => i.from)]))
  const done = new Set<string>()
  const walk = (file: string, path: ReadonlyArray<string>): ReadonlyArray<string> | undefined => {
    const start = path.indexOf(file)
    if (start >= 0) return [...path.slice(start), file]
    if (done.has(file)) return undefined
    for (const to of next.get(file) ?? []) {
      const found = walk(to, [...path, file])
      if (found !== undefined) return found
    }
    done.add(file)
    return undefined
  }
  for (const file of files) {
    const found = walk(file, [])
    if (found !== undefined) return found
  }
  return undefined
}
