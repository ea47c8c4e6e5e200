/** Where the circuit breaker of each topic stands, as far as this page can know. Pure.
 *
 * The bridge tells every change; what was before the page came follows from the topic itself: a fresh answer came
 * through a closed breaker, and CIRCUIT_BREAKER_OPEN says what it says.
 */
import type { Message } from "engine-events-client"

export type BreakerState = "closed" | "open" | "half open" | "unknown"

export interface Told {
  state: BreakerState
  failures: number
  /** When the next trial is due at the latest, Unix ms. */
  retryAtMs: number | undefined
}

const STATES: Record<string, BreakerState> = {
  "circuit_breaker.open": "open",
  "circuit_breaker.half_open": "half open",
  "circuit_breaker.closed": "closed",
}

/** What is known after a message; the same map if it says nothing of breakers. */
export function fold(told: ReadonlyMap<string, Told>, message: Message, nowMs: number): ReadonlyMap<string, Told> {
  const state = STATES[message.type]
  if (state === undefined) return told
  const { topic, consecutive_failures, retry_after_s } = message.data as {
    topic: string
    consecutive_failures?: number
    retry_after_s?: number
  }
  const wait = state === "open" ? retry_after_s : undefined
  const now: Told = {
    state,
    failures: consecutive_failures ?? 0,
    retryAtMs: wait === undefined ? undefined : nowMs + wait * 1000,
  }
  return new Map(told).set(topic, now)
}

/** The breaker of a topic: what was told, unless the topic itself is newer. */
export function breakerOf(
  told: Told | undefined,
  topic: { data: unknown; stale: boolean; errorCode: string | undefined },
): Told {
  const unknown: Told = { state: "unknown", failures: 0, retryAtMs: undefined }
  if (topic.data === undefined) return unknown
  if (!topic.stale) return { state: "closed", failures: 0, retryAtMs: undefined }
  if (topic.errorCode === "CIRCUIT_BREAKER_OPEN") {
    return told === undefined || told.state === "closed" ? { ...unknown, state: "open" } : told
  }
  if (topic.errorCode === "RPC_DISCONNECT") return told ?? { ...unknown, state: "closed" }
  return unknown // nobody who could say so can be reached
}
