import { NodeRuntime } from "@effect/platform-node"
import { Effect, Random, Schedule } from "effect"
import { SeedsApplied, WriteDispatcher } from "effect-es-ops"
import { randomUUID } from "node:crypto"
import { pay } from "./payments.js"
import { operations } from "./services.js"

const actor = { id: randomUUID(), tenantId: randomUUID(), roles: ["system"] }

// What the service does all day: accounts that are new, with three payments each.
const payments = Effect.gen(function* () {
  const account = randomUUID()
  for (const version of [1, 2, 3]) {
    const cents = yield* Random.nextIntBetween(1, 10_000)
    yield* WriteDispatcher.submit(pay, { account, version, cents }, { actor })
  }
})

const load = Effect.zipRight(
  SeedsApplied.SeedsApplied,
  Effect.zipRight(Effect.log("payments come in"), Effect.repeat(payments, Schedule.spaced("20 millis")))
)

NodeRuntime.runMain(load.pipe(Effect.provide(SeedsApplied.layer), Effect.provide(operations)))
