// What survives a reload of the page: position and states, in a Storage of the caller's choice.
import type { Saved } from "./session.js"

export type Memory = Pick<Storage, "getItem" | "setItem" | "removeItem">

const FORM = 1
const PREFIX = "engine-events "

/** Keeps what is known. A storage that is full or forbidden is none. */
export function keep(memory: Memory, url: string, saved: Saved): void {
  try {
    memory.setItem(PREFIX + url, JSON.stringify({ form: FORM, ...saved }))
  } catch {
    // then the next page begins with a snapshot, as the first one did
  }
}

/** Takes it out: two pages that went on from the same position would both show the same events as new. */
export function recall(memory: Memory, url: string): Saved | undefined {
  try {
    const text = memory.getItem(PREFIX + url)
    memory.removeItem(PREFIX + url)
    const saved = text === null ? undefined : (JSON.parse(text) as (Saved & { form: number }) | null)
    return saved?.form === FORM ? saved : undefined
  } catch {
    return undefined
  }
}
