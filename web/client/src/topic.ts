// One state as it is shown: its data, and whether that still holds. Pure.

/** Why a state is stale: the gateway's codes, and our own. */
export type StaleCode =
  | "RPC_DISCONNECT" // the engine failed to answer
  | "CIRCUIT_BREAKER_OPEN" // the engine failed so often that it was not asked
  | "BRIDGE_DISCONNECT" // the gateway lost the bridge
  | "DISCONNECTED" // we lost the gateway
  | "UNCONFIRMED" // we are connected again, but nobody has said this again
  | "NOT_SUBSCRIBED" // we no longer ask for it
  | "NO_DATA" // nothing has ever come

export interface Topic<D> {
  /** The latest, or the last good one. Undefined: nothing has come yet. */
  readonly data: D | undefined
  /** False only while this is known to be what the engine says now. */
  readonly stale: boolean
  /** Fresh: when it was said. Stale: when it was last known to be fresh. By this machine's clock. */
  readonly lastUpdate: Date | undefined
  /** Why it is stale, a `StaleCode`. Undefined: it is fresh. */
  readonly errorCode: string | undefined
}

/** What a message says of one state. */
export interface Said {
  data: object
  /** Position in the journal. Undefined: the gateway said it by itself. */
  epoch: string | undefined
  seq: number | undefined
  stale: boolean
  errorCode: string | undefined
  lastUpdateMs: number | undefined
}

/** What is kept of one state. */
export class Held {
  #said: Said
  #mark: StaleCode | undefined
  #away = false
  #topic: Topic<object> | undefined

  constructor(said: Said) {
    this.#said = said
    this.#mark = Held.#markOf(said)
  }

  /** The bridge's own word, without what was marked here or by the gateway. */
  get said(): Readonly<Said> {
    return this.#said
  }

  get mark(): StaleCode | undefined {
    return this.#mark
  }

  get topic(): Topic<object> {
    const { data, stale, errorCode, lastUpdateMs } = this.#said
    const code = this.#away ? "DISCONNECTED" : (this.#mark ?? (stale ? (errorCode ?? "RPC_DISCONNECT") : undefined))
    return (this.#topic ??= {
      data,
      stale: code !== undefined,
      lastUpdate: lastUpdateMs === undefined ? undefined : new Date(lastUpdateMs),
      errorCode: code,
    })
  }

  /** Takes what a message says. False: it is older than what is known. */
  take(said: Said): boolean {
    const before = this.#said
    if (said.seq === undefined) {
      // The gateway's mark stands over the bridge's last word, which holds again when the mark goes, unless it was not
      // that word which was marked.
      const same = JSON.stringify(said.data) === JSON.stringify(before.data)
      this.#said = same ? { ...before, lastUpdateMs: said.lastUpdateMs ?? before.lastUpdateMs } : said
    } else {
      if (said.epoch === before.epoch && before.seq !== undefined && said.seq < before.seq) return false
      this.#said = said
    }
    this.#away = false
    this.#setMark(Held.#markOf(said))
    return true
  }

  /** Our connection is gone (true), or has told all that changed meanwhile (false). */
  setAway(away: boolean): void {
    if (away !== this.#away) {
      this.#away = away
      this.#topic = undefined
    }
  }

  /** Whatever was said, it is stale for this reason; undefined: what was said holds. */
  setMark(mark: StaleCode | undefined): void {
    if (mark !== this.#mark) this.#setMark(mark)
  }

  #setMark(mark: StaleCode | undefined): void {
    this.#mark = mark
    this.#topic = undefined
  }

  static #markOf(said: Said): StaleCode | undefined {
    return said.seq === undefined && said.stale ? "BRIDGE_DISCONNECT" : undefined
  }
}
