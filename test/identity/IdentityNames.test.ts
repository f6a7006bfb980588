/**
 * The names of the bundled feature, beside the feature itself.
 */
import { assert, describe, it } from "@effect/vitest"
import { Identity } from "effect-es-ops"
import * as ProjectionRecords from "../../src/event/ProjectionRecords.js"
import * as Names from "../../src/identity/IdentityNames.js"

describe("the names of the bundled feature", () => {
  const { handlers, projections } = Identity.feature

  it("are those of its handlers, in their order", () => {
    assert.deepStrictEqual(
      Object.values<string>(Names.handlers),
      handlers.map(({ name }) => name)
    )
  })

  it("tell of its projections what the record asks", () => {
    assert.deepStrictEqual(Names.projections, projections.map(ProjectionRecords.asked))
  })
})
