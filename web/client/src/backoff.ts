// When to try again. Pure: chance and time are arguments.

/** A connection that lasted so long was a good one: the next trouble is a new one. */
export const GOOD_AFTER_MS = 30_000
const FIRST_CEILING_MS = 500
const LAST_CEILING_MS = 5_000
/** A server's own wish is honoured up to here. */
const LONGEST_WISH_MS = 300_000

/** Full jitter: anything up to a ceiling that doubles with each failure. `random`: 0 to 1. */
export function backoffMs(failures: number, random: number): number {
  return random * Math.min(LAST_CEILING_MS, FIRST_CEILING_MS * 2 ** Math.min(failures, 16))
}

/** What a restarting gateway asked for in its close frame, `retry_after_ms=N`. Undefined: nothing. */
export function wishedMs(reason: string): number | undefined {
  const wish = /(?:^|[\s,;])retry_after_ms=(\d{1,9})(?!\d)/.exec(reason)?.[1]
  return wish === undefined ? undefined : Math.min(Number(wish), LONGEST_WISH_MS)
}

/** Whether to come back after this close code: 45xx says no, until something has changed. */
export function comesBack(code: number): boolean {
  return code < 4500 || code > 4599
}
