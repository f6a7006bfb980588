/**
 * The colours of a terminal, by what they are used for.
 */

export type Colour = "green" | "red" | "yellow" | "dim"

const escapes: { readonly [colour in Colour]: string } = { green: "32", red: "31", yellow: "33", dim: "2" }

/** The text in a colour. */
export const coloured = (colour: Colour, text: string): string => `\u001B[${escapes[colour]}m${text}\u001B[0m`

/** The text without its escape sequences for colour. */
export const withoutColour = (text: string): string => text.replaceAll(ansi, "")

// oxlint-disable-next-line no-control-regex
const ansi = /\u001B\[[0-9;]*m/g
