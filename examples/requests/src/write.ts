import type { WriteHandler } from "effect-es-ops"
import { WriteDispatcher } from "effect-es-ops"
import { place } from "./orders.js"

/** Places an order for a user: the event and the read tables change in one transaction, or not at all. */
export const placeOrder = (actor: WriteHandler.Actor, id: string, total: number) =>
  WriteDispatcher.submit(place, { id, total }, { actor })
