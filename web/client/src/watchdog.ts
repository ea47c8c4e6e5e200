// Whether the other end is still there. Pure: it is told what was heard and what time it is, and says what to do.

export type Verdict = "fine" | "ping" | "dead"

/** Quiet for so long, at most, we ask; a heartbeat that comes more often is expected on time. */
const QUIET_MS = 10_000
const SHORTEST_QUIET_MS = 1_500
/** An answer takes no longer, over any network on which live data makes sense. */
const ANSWER_MS = 4_000
/** After waking up, or when the browser says that the network changed, somebody is looking. */
const HASTY_ANSWER_MS = 2_000
/** A look that comes so much too late means that we were asleep, so that silence means nothing. */
const OVERSLEPT_MS = 2_000

export class Watchdog {
  #quietMs = QUIET_MS
  #heardMs = 0
  /** How long the answer to the open question may take. Undefined: nothing is asked. */
  #patienceMs: number | undefined
  #lookDueMs = Infinity

  /** A connection begins. `heartbeatS`: how often the gateway says something by itself, seconds. */
  begin(nowMs: number, heartbeatS: number): void {
    this.#quietMs = Math.min(QUIET_MS, Math.max(SHORTEST_QUIET_MS, heartbeatS * 1_250))
    this.#lookDueMs = Infinity
    this.#patienceMs = undefined
    this.#heardMs = nowMs
  }

  /**
   * Something came. Only an answer says that the other end is there now: anything else may have been on its way when the
   * connection died. But while it keeps coming there is time.
   */
  heard(nowMs: number, isAnswer: boolean): void {
    this.#heardMs = nowMs
    if (isAnswer) this.#patienceMs = undefined
  }

  /** When to `look` next: ask this before every wait. */
  nextLookMs(): number {
    this.#lookDueMs = this.#heardMs + (this.#patienceMs ?? this.#quietMs)
    return this.#lookDueMs
  }

  look(nowMs: number): Verdict {
    if (nowMs - this.#lookDueMs > OVERSLEPT_MS) return this.suspect(nowMs)
    const silentMs = nowMs - this.#heardMs
    if (this.#patienceMs !== undefined) return silentMs >= this.#patienceMs ? "dead" : "fine"
    return silentMs >= this.#quietMs ? this.#ask(nowMs, ANSWER_MS) : "fine"
  }

  /** Something happened that may have cut the connection without a word. */
  suspect(nowMs: number): Verdict {
    return this.#ask(nowMs, HASTY_ANSWER_MS)
  }

  #ask(nowMs: number, patienceMs: number): Verdict {
    this.#heardMs = nowMs
    this.#patienceMs = patienceMs
    return "ping"
  }
}
