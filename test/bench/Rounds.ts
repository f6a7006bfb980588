/**
 * Two sides of a comparison, measured in turns: what disturbs the machine for a while disturbs both.
 */
import type { FnOptions } from "tinybench"
import { Bench } from "tinybench"

/** One side; `measured` answers with what it found where that is not the time it took. */
export interface Side {
  readonly run: () => Promise<unknown>
  /** What is to be made ready before each run, and is not measured. */
  readonly prepare?: () => Promise<unknown>
  /** Runs a round; the mean counts. Default: 1. */
  readonly repeat?: number
}

/** A row of the table. */
export interface Work {
  readonly name: string
  /** What is done, and what it is compared with. */
  readonly work: string
  readonly floor: string
  /** The ratio that is aimed at; none where the comparison is shown only. */
  readonly target?: number
  /** Milliseconds beyond the ratio that the target allows. */
  readonly allowance?: number
  readonly unit?: "ms" | "MiB"
  /** How many rounds count at most, where one takes long; one that does not count comes before them. */
  readonly rounds?: number
  readonly open: () => Promise<{ readonly floor: Side; readonly ours: Side; readonly close: () => Promise<unknown> }>
}

/** What a row came to; floor and ours are medians over the rounds, in its unit. */
export interface Result {
  readonly name: string
  readonly work: string
  readonly floorIs: string
  readonly unit: "ms" | "MiB"
  readonly floor: number
  readonly ours: number
  /** Of each round, ours by its floor. */
  readonly ratios: ReadonlyArray<number>
  /** Their median; that of the medians where the target allows milliseconds beyond it, which no round's floor is to be scaled by. */
  readonly ratio: number
  readonly target: number | null
}

/** Answer of a side that is measured otherwise than by the time it took. */
export const measured = (value: number) => ({ overriddenDuration: value })

const once = async ({ prepare, repeat = 1, run }: Side): Promise<number> => {
  const bench = new Bench({ iterations: repeat, time: 0, warmup: false, throws: true })
  const options: FnOptions = prepare === undefined ? {} : { beforeEach: async () => void (await prepare()) }
  bench.add("side", async () => run(), { async: true, ...options })
  const [task] = await bench.run()
  if (task?.result.state !== "completed") throw new Error(`a side did not complete: ${task?.result.state}`)
  return task.result.latency.mean
}

const median = (values: ReadonlyArray<number>): number => {
  const sorted = values.toSorted((a, b) => a - b)
  const middle = (sorted.length - 1) / 2
  return ((sorted[Math.floor(middle)] ?? NaN) + (sorted[Math.ceil(middle)] ?? NaN)) / 2
}

/** So many rounds do not count: the first ones of a process are of code that is being compiled. */
const uncounted = 3

/** Measures a row: rounds that do not count, then `rounds`, each beginning with the other side. */
export const measure = async (row: Work, rounds: number): Promise<Result> => {
  const sides = await row.open()
  const floors: Array<number> = []
  const ours: Array<number> = []
  try {
    const counted = Math.min(rounds, row.rounds ?? rounds)
    for (let round = row.rounds === undefined ? -uncounted : -1; round < counted; round++) {
      const oursFirst = round % 2 === 0
      const early = oursFirst ? await once(sides.ours) : undefined
      const floor = await once(sides.floor)
      const our = early ?? (await once(sides.ours))
      if (round < 0) continue
      floors.push(floor)
      ours.push(our)
    }
  } finally {
    await sides.close()
  }
  const ratios = ours.map((value, at) => value / (floors[at] ?? NaN))
  const floor = median(floors)
  const our = median(ours)
  return {
    name: row.name,
    work: row.work,
    floorIs: row.floor,
    unit: row.unit ?? "ms",
    floor,
    ours: our,
    ratios,
    ratio: row.allowance === undefined ? median(ratios) : our / floor,
    target: row.target === undefined ? null : row.target + (row.allowance ?? 0) / floor
  }
}

const number = (value: number): string => value.toFixed(value < 10 ? 2 : value < 100 ? 1 : 0)

/** The table, as Markdown. */
export const table = (results: ReadonlyArray<Result>): string => {
  const rows = results.map(({ floor, floorIs, name, ours, ratio, ratios, target, unit, work }) => [
    name,
    work,
    floorIs,
    `${number(floor)} ${unit}`,
    `${number(ours)} ${unit}`,
    `${ratio.toFixed(2)}`,
    `${Math.min(...ratios).toFixed(2)}–${Math.max(...ratios).toFixed(2)}`,
    target === null ? "" : `${target.toFixed(2)}${ratio <= target ? "" : " missed"}`
  ])
  const head = ["name", "work", "floor", "floor took", "ours took", "ratio", "spread", "target"]
  return [head, head.map(() => "---"), ...rows].map((cells) => `| ${cells.join(" | ")} |`).join("\n")
}
