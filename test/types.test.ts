/**
 * What the compiler knows: each line that must not compile says so.
 */
import { assert, describe, expectTypeOf, it } from "@effect/vitest"
import { PgClient } from "@effect/sql-pg"
import { SqlClient } from "@effect/sql"
import { Context, Effect, Either, Layer, Schema } from "effect"
import {
  EsOps,
  EventStore,
  Feature,
  Identity,
  Projection,
  Seed,
  SeedContext,
  WriteDispatcher,
  WriteHandler
} from "effect-es-ops"

class Mailer extends Context.Tag("test/Mailer")<Mailer, { readonly from: string }>() {}
class Clock extends Context.Tag("test/Clock")<Clock, { readonly now: number }>() {}

const NewOrder = Schema.Struct({ total: Schema.Int, at: Schema.Date })

const place = WriteHandler.make({
  name: "orders:write:place",
  payload: NewOrder,
  access: ["system"],
  handle: ({ at, total }, { newId }) => ({
    events: [
      {
        aggregateId: newId,
        aggregateType: "order",
        version: 1,
        type: "order.placed",
        payload: { total, at: at.toISOString() }
      }
    ],
    data: { id: newId, total }
  })
})

const refusing = WriteHandler.make({
  name: "orders:write:maybe",
  payload: Schema.Struct({ total: Schema.Int }),
  access: ["system"],
  handle: ({ total }, { newId }) =>
    total < 0
      ? Either.left(WriteHandler.reject("conflict", "no"))
      : Either.right({
          events: [{ aggregateId: newId, aggregateType: "order", version: 1, type: "order.placed", payload: {} }],
          data: { id: newId, state: "open" }
        })
})

const reading = WriteHandler.make({
  name: "orders:write:read",
  payload: Schema.Struct({}),
  access: ["system"],
  handle: (_, { newId }) =>
    Effect.gen(function* () {
      const { from } = yield* Mailer
      const { version } = yield* EventStore.EventStore
      yield* Effect.orDie(version({ tenantId: "t", aggregateId: newId }))
      if (from === "") return yield* WriteHandler.reject("conflict", "no")
      return {
        events: [
          { aggregateId: newId, aggregateType: "order", version: 1, type: "order.placed", payload: {} }
        ] as const,
        data: { id: newId, from }
      }
    })
})

const letters = Projection.make({
  name: "letters",
  events: ["order.placed"],
  apply: () => Effect.zipRight(SqlClient.SqlClient, Effect.asVoid(Clock))
})

const mailing = Feature.make({ name: "orders", handlers: [place, reading], projections: [letters] })
const plain = Feature.make({ name: "orders", handlers: [place, refusing] })

const MailerLive = Layer.succeed(Mailer, { from: "us" })
const ClockLive = Layer.effect(
  Clock,
  Effect.map(PgClient.PgClient, () => ({ now: 1 }))
)

const actor = { id: "u", tenantId: "t", roles: [] }

describe("the types of a write", () => {
  it("are its handler's: of payload and answer, by submit and by write", () => {
    const placed = WriteDispatcher.submit(place, { total: 1, at: "2026-01-01" }, { actor })
    expectTypeOf<Effect.Effect.Error<typeof placed>>().toEqualTypeOf<WriteDispatcher.WriteError>()
    expectTypeOf<Effect.Effect.Context<typeof placed>>().toEqualTypeOf<WriteDispatcher.WriteDispatcher>()
    expectTypeOf<Effect.Effect.Success<typeof placed>["total"]>().toEqualTypeOf<number>()
    const written = SeedContext.write(place, { total: 1, at: "2026-01-01" })
    expectTypeOf<Effect.Effect.Success<typeof written>["total"]>().toEqualTypeOf<number>()
    const inService = Effect.flatMap(SeedContext.SeedContext, ({ write }) => write(refusing, { total: 1 }))
    expectTypeOf<Effect.Effect.Success<typeof inService>["state"]>().toEqualTypeOf<string>()
    const read = WriteDispatcher.submit(reading, {}, { actor, correlationId: "c" })
    expectTypeOf<Effect.Effect.Success<typeof read>["from"]>().toEqualTypeOf<string>()
    const tenant = SeedContext.write(Identity.createTenant, { key: "a", name: "A" })
    expectTypeOf<Effect.Effect.Success<typeof tenant>["key"]>().toEqualTypeOf<string>()
    const member = WriteDispatcher.submit(
      Identity.updateMemberRoles,
      { userId: "u", tenantId: "t", roles: ["R"] },
      { actor }
    )
    expectTypeOf<Effect.Effect.Success<typeof member>["roles"][0]>().toEqualTypeOf<string>()
  })

  it("refuse another payload, and another answer", () => {
    const refused = [
      // @ts-expect-error: a total is a number
      WriteDispatcher.submit(place, { total: "1", at: "2026-01-01" }, { actor }),
      // @ts-expect-error: a time is missing
      WriteDispatcher.submit(place, { total: 1 }, { actor }),
      // @ts-expect-error: the encoded payload is what is written, not the decoded one
      SeedContext.write(place, { total: 1, at: new Date(0) }),
      // @ts-expect-error: an order has no such member
      SeedContext.write(place, { total: 1, at: "", more: 1 }),
      // @ts-expect-error: there is no actor
      WriteDispatcher.submit(refusing, { total: 1 }, {}),
      // @ts-expect-error: the answer's total is no text
      Effect.map(SeedContext.write(place, { total: 1, at: "" }), ({ total }): string => total)
    ]
    assert.strictEqual(refused.length, 6)
  })
})

describe("the settings of the command", () => {
  it("take services that the layer gives, or that nobody has to give", () => {
    const settings = [
      EsOps.config({}),
      EsOps.config({ seeds: "./seeds", features: [Identity.feature] }),
      EsOps.config({ features: [Identity.feature, plain] }),
      EsOps.config({ features: [mailing, Identity.feature], layer: Layer.merge(MailerLive, ClockLive) }),
      EsOps.config({ features: [plain], layer: MailerLive }),
      EsOps.config({
        seeds: { one: Seed.make({ description: "", run: Effect.zipRight(SeedContext.findTenants, Mailer) }) },
        layer: MailerLive
      }),
      EsOps.config({
        seeds: {
          one: Seed.make({ description: "", run: Effect.zipRight(SqlClient.SqlClient, SeedContext.findTenants) })
        }
      }),
      EsOps.config({
        dispatcher: Layer.effect(
          WriteDispatcher.WriteDispatcher,
          Effect.map(Effect.zip(SqlClient.SqlClient, Mailer), () => ({
            write: ({ handler }: WriteDispatcher.WriteRequest) =>
              new WriteDispatcher.WriteRejected({ handler, code: "conflict", reason: "no" })
          }))
        ),
        layer: MailerLive
      })
    ]
    assert.strictEqual(settings.length, 8)
  })

  it("do not compile without a service that is missing", () => {
    // @ts-expect-error: Mailer and Clock are missing, and no layer is there
    EsOps.config({ features: [mailing] })
    // @ts-expect-error: Clock is missing
    EsOps.config({ features: [mailing], layer: MailerLive })
    // @ts-expect-error: Mailer is missing
    EsOps.config({ features: [Identity.feature, mailing], layer: ClockLive })
    // @ts-expect-error: the seed's Mailer is missing
    EsOps.config({ seeds: { one: Seed.make({ description: "", run: Mailer }) } })
    EsOps.config({
      features: [plain],
      // @ts-expect-error: there is no such setting of that type
      lockTimeout: {}
    })
  })
})
