// Credentials: how they are asked for, and until when a token says that it is valid.

/** A token, or what gives one whenever one is needed: on every connection, and before the old one expires. */
export type TokenSource = string | (() => string | Promise<string>)

/** A new token is fetched so long before the old one expires. */
const AHEAD_MS = 30_000

/** When a JWT expires, Unix ms. Undefined: it never does, or this is another kind of token. Checks nothing else. */
export function expiryMs(token: string): number | undefined {
  const payload = token.split(".")[1]
  if (payload === undefined) return undefined
  try {
    const claims = JSON.parse(atob(payload.replaceAll("-", "+").replaceAll("_", "/"))) as { exp?: unknown } | null
    return typeof claims?.exp === "number" ? claims.exp * 1000 : undefined
  } catch {
    return undefined
  }
}

/** How long a new token may be waited for, ms: half of a short life, all but the last 30 s of a long one. */
export function refreshInMs(expiresMs: number, nowMs: number): number {
  const left = Math.max(0, expiresMs - nowMs)
  return Math.max(left / 2, left - AHEAD_MS)
}
