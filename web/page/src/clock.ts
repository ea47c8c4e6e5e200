/** One clock for all ages on the page: it ticks once a second, and not while nobody can see it. */
import { useSyncExternalStore } from "react"

const listeners = new Set<() => void>()
let nowMs = Date.now()
let timer: ReturnType<typeof setInterval> | undefined

function tick(): void {
  nowMs = Date.now()
  for (const listener of listeners) listener()
}

function follow(): void {
  clearInterval(timer)
  timer = undefined
  if (listeners.size > 0 && document.visibilityState === "visible") {
    tick()
    timer = setInterval(tick, 1000)
  }
}

/** Calls back once a second; gives what ends that. */
export function onTick(listener: () => void): () => void {
  listeners.add(listener)
  if (listeners.size === 1) {
    document.addEventListener("visibilitychange", follow)
    follow()
  }
  return () => {
    listeners.delete(listener)
    if (listeners.size === 0) {
      document.removeEventListener("visibilitychange", follow)
      follow()
    }
  }
}

/** The time, Unix ms, new every second. */
export function useNow(): number {
  return useSyncExternalStore(onTick, () => nowMs)
}
