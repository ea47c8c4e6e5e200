// The state of the connection as it is shown.
import { Listeners } from "./listeners.js"

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
  /** How the last connection ended that did. 4000: we gave it up ourselves (see closeReason). */
  readonly closeCode?: number | undefined
  readonly closeReason?: string | undefined
  /** What the gateway refused last on this connection: the code of its `error`, and why. */
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

const COUNTERS_EVERY_MS = 250

/** The status as everybody sees it: one object until it is told that something changed. */
export class StatusBoard {
  readonly #make: () => Status
  readonly #listeners = new Listeners()
  #status: Status
  #timer: ReturnType<typeof setTimeout> | undefined

  constructor(make: () => Status) {
    this.#make = make
    this.#status = make()
  }

  get status(): Status {
    return this.#status
  }

  onStatus(listener: () => void): () => void {
    return this.#listeners.add(listener)
  }

  /** Something changed that is to be seen at once. */
  tell(): void {
    clearTimeout(this.#timer)
    this.#timer = undefined
    this.#status = this.#make()
    this.#listeners.call()
  }

  /** Counters changed: they are seen a few times a second. */
  tellSoon(): void {
    this.#timer ??= setTimeout(() => this.tell(), COUNTERS_EVERY_MS)
  }
}
