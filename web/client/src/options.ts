// What a client is told when it is made.
import type { SocketConstructor } from "./connection.js"
import type { Memory } from "./memory.js"
import type { Gap } from "./position.js"
import type { TokenSource } from "./token.js"

export interface EventClientOptions {
  /** The gateway's `/ws`: ws(s):, http(s):, or relative to the page. */
  url: string
  /** Types and patterns wanted from the start; by default the gateway's eight. More come with `subscribe` and `onTopic`. */
  types?: readonly string[]
  /** Where the gateway asks for credentials. A function is asked for each connection, and before a JWT expires. */
  token?: TokenSource
  /** Keeps position and states over a reload of the page: `sessionStorage`, say. By default nothing is kept. */
  storage?: Memory
  /** By default the global one; Node 20 has none: give it that of the ws package. */
  WebSocket?: SocketConstructor
  /** Events will never come: what was lost is told here and in `status`, never silently. */
  onGap?: (gap: Gap) => void
}

/** The address as a WebSocket's. TypeError: it is none, or relative where there is no page. */
export function socketUrl(text: string): URL {
  const page = (globalThis as { location?: { href: string } }).location?.href
  const url = new URL(text, page)
  url.protocol = url.protocol.replace(/^http/, "ws")
  return url
}
