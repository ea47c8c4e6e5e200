// Listeners, and calling them so that none can hurt another.

export class Listeners {
  readonly #all = new Set<() => void>()

  /** Gives what takes it away. The same function may be added twice. */
  add(listener: () => void): () => void {
    const own = () => {
      listener()
    }
    this.#all.add(own)
    return () => this.#all.delete(own)
  }

  call(): void {
    for (const listener of this.#all) callSafely(listener)
  }
}

/** What a listener throws is reported as nobody's, as it is for the listeners of an EventTarget. */
export function callSafely(listener: () => void): void {
  try {
    listener()
  } catch (error) {
    queueMicrotask(() => {
      throw error
    })
  }
}
