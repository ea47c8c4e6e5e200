// The state of the connection as it is shown.

export type ConnectionState =
  | "connecting"
  | "open"
  | "waiting" // lost, comes back at retryAt
  | "closed" // not wanted, or refused for good

export interface Status {
  readonly state: ConnectionState
  readonly url: string
  /** Who we are to the gateway. */
  readonly clientId?: string | undefined
  /** Our position: which journal … */
  readonly epoch?: string | undefined
  /** … and up to which number. */
  readonly seq?: number | undefined
  /** While waiting: when it is tried next. */
  readonly retryAt?: Date | undefined
  /** How the last connection ended; kept until the next is open. 4000: we gave it up (see closeReason). */
  readonly closeCode?: number | undefined
  readonly closeReason?: string | undefined
  /** What the gateway last refused: the code of its `error`, and why. */
  readonly problem?: { readonly code: string; readonly message: string } | undefined
  /** Whether the gateway has its bridge. Absent: not known. */
  readonly bridgeConnected?: boolean | undefined
  readonly lastMessageAt?: Date | undefined
  /** Messages since the client was made. */
  readonly received: number
  /** States that were replaced by later ones before they could reach us. */
  readonly superseded: number
  /** Log events that are gone. */
  readonly lost: number
  /** Connections after the first. */
  readonly reconnects: number
  /** What the gateway says we are subscribed to, sorted. */
  readonly subscriptions: readonly string[]
  /** By topic: how long ago it was last known to be fresh, as of the last heartbeat, seconds. */
  readonly freshness: Readonly<Record<string, number>>
}

/** Listeners of one kind. One that throws does not keep the others from hearing. */
export class Listeners {
  readonly #all = new Set<() => void>()

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
