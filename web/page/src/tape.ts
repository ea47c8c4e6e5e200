/** The last messages, for the inspector: a ring of fixed size with a pattern to look through. Never re-renders by itself. */
import type { Message } from "engine-events-client"

export interface Entry {
  /** 1, 2, 3 … as they came to this page. */
  n: number
  message: Message
  receivedAt: Date
}

export class Tape {
  /** All that ever came. */
  count = 0
  private readonly ring: (Entry | undefined)[]

  constructor(readonly capacity: number) {
    this.ring = new Array<Entry | undefined>(capacity)
  }

  add(message: Message, receivedAt: Date): void {
    this.count += 1
    this.ring[this.count % this.capacity] = { n: this.count, message, receivedAt }
  }

  clear(): void {
    this.ring.fill(undefined)
  }

  get(n: number): Entry | undefined {
    const entry = this.ring[n % this.capacity]
    return entry?.n === n ? entry : undefined
  }

  /** Those that match, newest first, none newer than `upTo`. */
  matching(matches: (type: string) => boolean, upTo = this.count): Entry[] {
    const found: Entry[] = []
    for (let n = upTo; n > 0 && n > this.count - this.capacity; n -= 1) {
      const entry = this.get(n)
      if (entry !== undefined && matches(entry.message.type)) found.push(entry)
    }
    return found
  }
}

/** Patterns as the gateway takes them, separated by commas or spaces: `agent.*, notification`. Nothing: everything. */
export function matcher(patterns: string): (type: string) => boolean {
  const names = patterns.split(/[\s,]+/).filter((name) => name !== "")
  if (names.length === 0) return () => true
  const exact = new Set(names)
  const prefixes = names.filter((name) => name.endsWith("*")).map((name) => name.slice(0, -1))
  return (type) => exact.has(type) || prefixes.some((prefix) => type.startsWith(prefix))
}
