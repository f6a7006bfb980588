/**
 * What is to be done when a test file is over. A module that files of one process share runs once, and so can register `afterAll` for the first of
 * them alone.
 */
const waiting: Array<() => Promise<void>> = []

/** Does this behind the last test of the file that runs. */
export const add = (end: () => Promise<void>): void => void waiting.push(end)

/** The file is over. */
export const come = async (): Promise<void> => {
  for (const end of waiting.splice(0)) await end()
}
