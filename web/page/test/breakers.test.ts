import { describe, expect, test } from "vitest"

import { breakerOf, fold } from "../src/breakers"

const message = (type: string, data: Record<string, unknown> = {}) => ({ type, timestamp: "", data })
const fresh = { data: {}, stale: false, errorCode: undefined }
const stale = (errorCode: string) => ({ data: {}, stale: true, errorCode })
const opened = fold(
  new Map(),
  message("circuit_breaker.open", { topic: "a", consecutive_failures: 5, retry_after_s: 10 }),
  1000,
)

describe("breakers", () => {
  test("are where the bridge last said", () => {
    expect(opened.get("a")).toEqual({ state: "open", failures: 5, retryAtMs: 11_000 })
    const half = fold(opened, message("circuit_breaker.half_open", { topic: "a" }), 2000)
    expect(half.get("a")).toEqual({ state: "half open", failures: 0, retryAtMs: undefined })
    expect(fold(half, message("circuit_breaker.closed", { topic: "a" }), 3000).get("a")?.state).toBe("closed")
  })

  test("are not changed by other messages", () => {
    expect(fold(opened, message("system.status"), 0)).toBe(opened)
  })

  test("of a fresh topic are closed, whatever was told before", () => {
    expect(breakerOf(opened.get("a"), fresh).state).toBe("closed")
  })

  test("of a topic that is not asked for are open, though this page came too late to be told", () => {
    expect(breakerOf(undefined, stale("CIRCUIT_BREAKER_OPEN")).state).toBe("open")
    expect(breakerOf(opened.get("a"), stale("CIRCUIT_BREAKER_OPEN")).retryAtMs).toBe(11_000)
  })

  test("of a topic that failed a few times are closed still", () => {
    expect(breakerOf(undefined, stale("RPC_DISCONNECT")).state).toBe("closed")
  })

  test("are unknown when whoever knows cannot be reached, or nothing has come", () => {
    expect(breakerOf(opened.get("a"), stale("BRIDGE_DISCONNECT")).state).toBe("unknown")
    expect(breakerOf(opened.get("a"), stale("DISCONNECTED")).state).toBe("unknown")
    expect(breakerOf(opened.get("a"), { data: undefined, stale: true, errorCode: undefined }).state).toBe("unknown")
  })
})
