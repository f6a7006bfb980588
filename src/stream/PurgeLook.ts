/**
 * The look at streams that are to be purged, page by page, so that their lines fit into memory and a batch of them is short.
 */
import * as Arr from "effect/Array"
import * as Effect from "effect/Effect"
import * as Option from "effect/Option"
import type { DatabaseError } from "../operation/OperationError.js"
import type { DueStream, StreamDigest } from "./StreamPurges.js"
import { StreamPurges } from "./StreamPurges.js"

type Looked = Effect.Effect<ReadonlyArray<StreamDigest>, DatabaseError, StreamPurges>

/** The events of a batch, and the bytes of its lines: with so many, no further page is looked at. */
const batch = { events: 50_000, bytes: 32 * 1024 * 1024 }

/** What a page is to have, of which there are two in memory for a moment. */
const page = { events: 5_000, bytes: 4 * 1024 * 1024 }

/** Streams a page. */
const firstPage = 10
const largestPage = 250

/** What the events of the first of these streams are, in their order: of as many as a batch takes. */
export const some = (streams: ReadonlyArray<DueStream>, withLines: boolean): Looked => look(streams, withLines, batch)

/** What the events of all of these streams are, in their order. */
export const all = (streams: ReadonlyArray<DueStream>, withLines: boolean): Looked =>
  look(streams, withLines, { events: Number.POSITIVE_INFINITY, bytes: Number.POSITIVE_INFINITY })

const look = (streams: ReadonlyArray<DueStream>, withLines: boolean, enough: Volume): Looked =>
  Effect.gen(function* () {
    const port = yield* StreamPurges
    let found: ReadonlyArray<StreamDigest> = []
    let volume: Volume = { events: 0, bytes: 0 }
    for (let size = firstPage; volume.events < enough.events && volume.bytes < enough.bytes;) {
      const next = streams.slice(found.length, found.length + size)
      if (!Arr.isNonEmptyReadonlyArray(next)) break
      const digests = yield* port.digests(next, withLines)
      const more = volumeOf(digests)
      found = [...found, ...digests]
      volume = { events: volume.events + more.events, bytes: volume.bytes + more.bytes }
      size = sizeAfter(next.length, more)
    }
    return found
  })

interface Volume {
  readonly events: number
  readonly bytes: number
}

const volumeOf = (digests: ReadonlyArray<StreamDigest>): Volume => ({
  events: digests.reduce((sum, { events }) => sum + events, 0),
  bytes: digests.reduce(
    (sum, { lines }) => sum + Option.match(lines, { onNone: () => 0, onSome: (text) => text.byteLength }),
    0
  )
})

/** The streams of the next page, by what those of the last one had. */
const sizeAfter = (size: number, { bytes, events }: Volume): number => {
  const fitting = Math.floor(size * Math.min(page.events / Math.max(1, events), page.bytes / Math.max(1, bytes)))
  return Math.min(largestPage, Math.max(1, fitting))
}
