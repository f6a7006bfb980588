/**
 * The metrics of runs.
 */
import * as Metric from "effect/Metric"
import * as MetricBoundaries from "effect/MetricBoundaries"

/** How many batches were committed. */
export const batches: Metric.Metric.Counter<number> = Metric.counter("es_ops_run_batches", {
  description: "batches of runs that were committed",
  incremental: true
})

/** How many items batches have done. */
export const items: Metric.Metric.Counter<number> = Metric.counter("es_ops_run_items", {
  description: "items that batches of runs have done",
  incremental: true
})

/** Runs that ended or stopped, by `outcome`. */
export const ended: Metric.Metric.Counter<number> = Metric.counter("es_ops_runs_ended", {
  description: "runs that ended or stopped for now",
  incremental: true
})

/** Milliseconds of one batch, from BEGIN to COMMIT. */
export const batchDuration: Metric.Metric.Histogram<number> = Metric.histogram(
  "es_ops_run_batch_duration_ms",
  MetricBoundaries.exponential({ start: 10, factor: 2, count: 12 }),
  "milliseconds of one batch of a run"
)
