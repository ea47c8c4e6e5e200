// Event types, and patterns that stand for several: what may be subscribed to, and what covers what.

/** More of them the gateway refuses. */
export const MAX_SUBSCRIPTIONS = 64
const MAX_LENGTH = 128
const TYPE = /^[a-z0-9_]+(\.[a-z0-9_]+)*$/

/** Whether this can be subscribed to: a type, `*`, or a type followed by `.*` (everything below it). */
export function isPattern(text: string): boolean {
  return text === "*" || (text.length <= MAX_LENGTH && TYPE.test(text.endsWith(".*") ? text.slice(0, -2) : text))
}

/** Whether events of this type are meant by the pattern. */
export function matches(pattern: string, type: string): boolean {
  return pattern === "*" || pattern === type || (pattern.endsWith(".*") && type.startsWith(pattern.slice(0, -1)))
}

/** Whether one of the patterns means this type. */
export function covers(patterns: Iterable<string>, type: string): boolean {
  for (const pattern of patterns) if (matches(pattern, type)) return true
  return false
}
