/**
 * Which operations keep which others from beginning: who reads the events of a type, and who takes some of them away.
 */
import { assert, layer } from "@effect/vitest"
import { Effect, Predicate } from "effect"
import {
  EsOps,
  EventReplay,
  ProjectionRebuild,
  RunLog,
  SnapshotRebuild,
  StreamArchive,
  StreamMove,
  StreamPurge
} from "effect-es-ops"
import type { RunObserver } from "effect-es-ops"
import { randomUUID } from "node:crypto"
import { order, shop } from "../suites/ArchiveSuite.js"
import { archivedOrders, interruptingAfter, ofTenant } from "../suites/PurgeSuite.js"
import { sales } from "../suites/SalesFeature.js"

type Observed = RunObserver.RunObserver | undefined

/** An operation on orders that are there, or that it makes. */
type Operation = (observer: Observed) => Effect.Effect<unknown, unknown, EsOps.Services>

const readers: Readonly<Record<string, Operation>> = {
  "projection:rebuild": (observer: Observed) => ProjectionRebuild.run({ projections: ["orders"], observer }),
  "projection:diff": (observer: Observed) => ProjectionRebuild.diff({ projections: ["orders"], observer }),
  "event:replay": (observer: Observed) =>
    EventReplay.run({ subscriber: "mail", bounds: { all: true }, appliedBy: "cli", observer }),
  "snapshot:rebuild": (observer: Observed) => SnapshotRebuild.run({ aggregate: "order", appliedBy: "cli", observer })
}

const move: Operation = (observer) =>
  Effect.flatMap(order(["order.placed"]), ({ aggregateId, tenantId }) =>
    StreamMove.run({ moves: [{ aggregateId, from: tenantId, to: randomUUID() }], observer })
  )

const purge: Operation = (observer) =>
  Effect.flatMap(archivedOrders(1), ([made]) => StreamPurge.run({ ...ofTenant(made?.tenantId ?? ""), observer }))

/** Left half-way, as by Ctrl-C. */
const halfWay = (operation: Operation) =>
  Effect.gen(function* () {
    yield* Effect.exit(operation(interruptingAfter(1)))
    const [run, ...others] = yield* (yield* RunLog.RunLog).unfinished
    assert.deepStrictEqual([run?.outcome, others], ["paused", []])
    return run?.id ?? ""
  })

const refused = (operation: Operation, by: string) =>
  Effect.gen(function* () {
    const error = yield* Effect.flip(operation(undefined))
    assert.isTrue(Predicate.isTagged(error, "RunInProgress") && Predicate.hasProperty(error, "id") && error.id === by)
    yield* (yield* RunLog.RunLog).cancel(by, "cli")
  })

layer(EsOps.layerMemory({ seeds: {}, features: [shop, sales] }), { excludeTestServices: true })(
  "operations beside each other",
  (it) => {
    for (const [reading, reader] of Object.entries(readers)) {
      for (const [changing, changer] of [
        ["stream:move", move],
        ["stream:purge", purge]
      ] as const) {
        it.effect(`are refused: ${changing} beside ${reading}, whichever began first`, () =>
          Effect.gen(function* () {
            yield* order(["order.placed"])
            yield* refused(changer, yield* halfWay(reader))
            yield* refused(reader, yield* halfWay(changer))
            yield* changer(undefined)
          })
        )
      }
    }

    it.effect("go on where neither reads what the other takes away: moves, purges, archivings", () =>
      Effect.gen(function* () {
        const id = yield* halfWay(purge)
        yield* move(undefined)
        yield* StreamArchive.run({ streams: [yield* order(["order.placed"])] })
        yield* (yield* RunLog.RunLog).cancel(id, "cli")
      })
    )
  }
)
