/**
 * The JSON document of a command that failed, as a schema. It is by itself, as every command may need it.
 */
import * as Schema from "effect/Schema"

/** Any other command that fails before it can say more. */
export const ErrorDocument = Schema.Struct({
  error: Schema.Struct({ _tag: Schema.String, message: Schema.String })
})
export type ErrorDocument = typeof ErrorDocument.Type
