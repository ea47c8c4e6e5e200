// The token: asked for when one is needed, and again before it expires. Shows it to nobody by itself.
import type { TokenSource } from "./token.js"
import { expiryMs, refreshInMs } from "./token.js"

const LONGEST_TIMER_MS = 2 ** 31 - 1

export class Credentials {
  source: TokenSource | undefined
  readonly #show: (token: string) => void
  #timer: ReturnType<typeof setTimeout> | undefined
  /** Counts connections: what was asked for one is not shown on another. */
  #connection = 0

  /** `show`: says a token on the present connection. */
  constructor(source: TokenSource | undefined, show: (token: string) => void) {
    this.source = source
    this.#show = show
  }

  /** Calls `give` with the token, at once if there need be no waiting; undefined: the source had none. */
  begin(give: (token: string | undefined) => void): void {
    const connection = ++this.#connection
    const take = (token: string | undefined) => {
      if (connection !== this.#connection) return
      if (token !== undefined) this.#refreshBefore(token)
      give(token)
    }
    if (typeof this.source === "function") void this.#fetch().then(take)
    else take(this.source)
  }

  /** Shows the source's present token on the present connection. */
  async renew(): Promise<void> {
    const connection = this.#connection
    const token = await this.#fetch()
    if (connection !== this.#connection || token === undefined) return
    this.#show(token)
    this.#refreshBefore(token)
  }

  /** The connection is gone. */
  end(): void {
    this.#connection += 1
    clearTimeout(this.#timer)
  }

  async #fetch(): Promise<string | undefined> {
    try {
      return typeof this.source === "function" ? await this.source() : this.source
    } catch {
      return undefined // the gateway ends what has expired, and then it is asked again
    }
  }

  #refreshBefore(token: string): void {
    clearTimeout(this.#timer)
    const expiresMs = typeof this.source === "function" ? expiryMs(token) : undefined
    if (expiresMs === undefined) return
    const waitMs = Math.min(refreshInMs(expiresMs, Date.now()), LONGEST_TIMER_MS)
    this.#timer = setTimeout(() => void this.renew(), waitMs)
  }
}
