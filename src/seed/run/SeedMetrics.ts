/**
 * The metrics of seeds, for an application that exports Effect's metrics.
 */
import * as Metric from "effect/Metric"
import * as MetricBoundaries from "effect/MetricBoundaries"

const count = (name: string, description: string) => Metric.counter(name, { description, incremental: true })

/** Seeds that this process applied. */
export const applied = count("es_ops_seeds_applied_total", "Seeds applied by this process")

/** Seeds whose failure ended a run of this process. */
export const failed = count("es_ops_seeds_failed_total", "Seeds whose failure ended a run of this process")

/** Seeds that a flag skipped. */
export const skipped = count("es_ops_seeds_skipped_total", "Seeds that a flag skipped")

/** Seeds that another replica applied while this process waited. */
export const raced = count("es_ops_seeds_raced_total", "Seeds that another replica applied while this process waited")

/** Events that applied seeds appended. */
export const events = count("es_ops_seed_events_total", "Events appended by applied seeds")

/** Seeds of the current run that are not through yet. */
export const pending = Metric.gauge("es_ops_seeds_pending", {
  description: "Seeds of the current run that are not through"
})

const milliseconds = MetricBoundaries.exponential({ start: 1, factor: 4, count: 10 })

/** How long bodies took, in milliseconds. */
export const duration = Metric.histogram(
  "es_ops_seed_duration_milliseconds",
  milliseconds,
  "How long the bodies of applied seeds took"
)

/** How long seeds waited for the operations lock, in milliseconds. */
export const lockWait = Metric.histogram(
  "es_ops_seed_lock_wait_milliseconds",
  milliseconds,
  "How long applied seeds waited for the operations lock"
)
