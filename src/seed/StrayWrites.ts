/**
 * Writes that async seeds start after their end, of which a program that ends may know no more.
 */
import process from "node:process"

let mayCome = false

/** An async seed was run: what it left behind may write yet. */
export const expect = (): void => {
  mayCome = true
}

/** How long is waited for what async seeds left behind, in milliseconds: a file that is read, an address that is looked up. */
const patience = 200

/** Calls back when nothing else is under way in this process, from which such a write could come, or after `patience`. */
export const whenOver = (then: () => void): void => {
  const until = performance.now() + patience
  const look = (own: number) => {
    const others = process.getActiveResourcesInfo().filter((resource) => !streams.has(resource))
    if (mayCome && others.length > own && performance.now() < until) setTimeout(look, 5, 1)
    else then()
  }
  look(0)
}

/** What the standard streams show as. */
const streams = new Set(["TTYWrap", "PipeWrap"])
