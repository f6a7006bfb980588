/**
 * Deep equality that tells a `Some` from a `None`: both are iterable and differ in their number of properties, so that chai compares what they
 * iterate over, which is the same.
 */
import { Option } from "effect"
import { chai } from "vitest"

const equal = (left: unknown, right: unknown): boolean => chai.util.eql(left, right, { comparator })

const comparator = (left: unknown, right: unknown): boolean | null =>
  Option.isOption(left) && Option.isOption(right) ? equal(Option.toArray(left), Option.toArray(right)) : null

chai.config.deepEqual = equal
