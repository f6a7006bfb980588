/**
 * What each test file begins with. Files that follow each other in one process share the methods of `it`, which `layer` of @effect/vitest (0.30)
 * replaces for good: from then on `it.effect` has that layer's services, and no TestClock. They are made anew here.
 *
 * Deep equality that tells a `Some` from a `None`: both are iterable and differ in their number of properties, so that chai compares what they
 * iterate over, which is the same.
 */
import { afterAll, it, makeMethods } from "@effect/vitest"
import { Option } from "effect"
import { chai } from "vitest"
import * as FileEnd from "./FileEnd.js"

makeMethods(it)

afterAll(FileEnd.come)

const equal = (left: unknown, right: unknown): boolean => chai.util.eql(left, right, { comparator })

const comparator = (left: unknown, right: unknown): boolean | null =>
  Option.isOption(left) && Option.isOption(right) ? equal(Option.toArray(left), Option.toArray(right)) : null

chai.config.deepEqual = equal
