/**
 * JSON documents as text.
 */
import * as Schema from "effect/Schema"

/** Encodes a document as JSON text. */
export const encode = <A, I>(schema: Schema.Schema<A, I>, document: A): string =>
  JSON.stringify(Schema.encodeSync(schema)(document), null, 2)
