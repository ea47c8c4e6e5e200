// Who here wants which events, and what is therefore to be said to the gateway. Pure.
import type { Message } from "./messages.js"
import { isPattern, matches, MAX_SUBSCRIPTIONS } from "./patterns.js"

export type Listener = (message: Message) => void

/** The watchdog's and the store's own: it is always wanted. */
const ALWAYS = "heartbeat"

/** What to say. */
export interface Wishes {
  add: string[]
  remove: string[]
}

interface Ear {
  patterns: readonly string[]
  hear: Listener
}

export class Interests {
  readonly #counts = new Map<string, number>([[ALWAYS, 1]])
  readonly #ears = new Set<Ear>()

  /** Everything that somebody wants. */
  get wanted(): string[] {
    return [...this.#counts.keys()].sort()
  }

  /**
   * One more who wants these; gives what takes that back. TypeError: one is neither a type nor a pattern. RangeError: the
   * gateway takes no more than 64 different ones.
   */
  add(patterns: readonly string[], hear?: Listener): () => void {
    const wrong = patterns.find((pattern) => !isPattern(pattern))
    if (wrong !== undefined) throw new TypeError(`${JSON.stringify(wrong)} is neither an event type nor a pattern`)
    const distinct = [...new Set(patterns)]
    const count = new Set([...this.#counts.keys(), ...distinct]).size
    if (count > MAX_SUBSCRIPTIONS) throw new RangeError(`${count} subscriptions; ${MAX_SUBSCRIPTIONS} are allowed`)
    for (const pattern of distinct) this.#counts.set(pattern, (this.#counts.get(pattern) ?? 0) + 1)
    const ear = hear && { patterns: distinct, hear }
    if (ear) this.#ears.add(ear)
    let isWanted = true
    return () => {
      if (!isWanted) return
      isWanted = false
      if (ear) this.#ears.delete(ear)
      for (const pattern of distinct) {
        const left = (this.#counts.get(pattern) ?? 0) - 1
        if (left > 0) this.#counts.set(pattern, left)
        else this.#counts.delete(pattern)
      }
    }
  }

  /** What is to be said to a gateway that was told `told`. */
  wishes(told: ReadonlySet<string>): Wishes {
    return {
      add: this.wanted.filter((pattern) => !told.has(pattern)),
      remove: [...told].filter((pattern) => !this.#counts.has(pattern)),
    }
  }

  /** Those who want this message, at the moment. */
  listeners(message: Message): Listener[] {
    const concerned = [...this.#ears].filter(({ patterns }) => patterns.some((p) => matches(p, message.type)))
    return concerned.map(({ hear }) => hear)
  }
}
