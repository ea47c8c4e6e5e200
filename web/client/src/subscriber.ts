// Tells the gateway what is wanted, one request at a time, on one connection after another. Owns no socket.
import type { Interests } from "./interests.js"
import type { Message, RequestError } from "./messages.js"
import { MAX_SUBSCRIPTIONS } from "./patterns.js"

/** What nobody wants any more is still told for so long: pages take things away and put them back in the same breath. */
const LINGER_MS = 1_000

type Send = (type: string, data?: object, id?: string) => boolean

export class Subscriber {
  readonly #interests: Interests
  readonly #send: Send
  /** What the gateway was told on this connection. Undefined: there is none. */
  #told: Set<string> | undefined
  /** Not for these credentials: asked for again when those change. */
  readonly #refused = new Set<string>()
  /** Were refused together with others: asked for one by one. */
  readonly #doubtful = new Set<string>()
  #request: { id: string; patterns: string[] } | undefined
  #requests = 0
  #isScheduled = false
  #linger: ReturnType<typeof setTimeout> | undefined

  constructor(interests: Interests, send: Send) {
    this.#interests = interests
    this.#send = send
  }

  /** A welcome came. `subscriptions`: what the gateway takes us for subscribed to. */
  begin(subscriptions: readonly string[]): void {
    this.#told = new Set(subscriptions)
    this.#request = undefined
    this.#refused.clear()
    this.#doubtful.clear()
    this.#sync()
    this.unwanted()
  }

  /** The connection is gone. */
  end(): void {
    this.#told = this.#request = undefined
    clearTimeout(this.#linger)
    this.#linger = undefined
  }

  /** Something more may be wanted: it is said when the caller has said all that it wants. */
  wanted(): void {
    if (this.#isScheduled) return
    this.#isScheduled = true
    queueMicrotask(() => {
      this.#isScheduled = false
      this.#sync()
    })
  }

  /** Something may be wanted no longer. */
  unwanted(): void {
    if (this.#told === undefined) return
    this.#linger ??= setTimeout(() => {
      this.#linger = undefined
      this.#takeBack()
    }, LINGER_MS)
  }

  /** The credentials have changed. */
  reconsider(): void {
    this.#refused.clear()
    this.#sync()
  }

  /** Makes the gateway say the latest states of these types again. */
  refresh(types: string[]): void {
    this.#send("unsubscribe", { types })
    this.#send("subscribe", { types })
  }

  /** A message came that may be an answer. True: it is a refusal. */
  answered(message: Message): boolean {
    const request = this.#request
    if (message.type !== "subscribe" && message.type !== "error") return false
    const isUnread = message.type === "error" && (message.data as RequestError).code === "RATE_LIMITED"
    if (request !== undefined && (message.id === request.id || isUnread)) {
      this.#request = undefined
      if (message.type === "subscribe") this.#sync()
      else if (isUnread) this.#tryLater(request.patterns)
      else this.#takeRefusal(request.patterns)
    }
    return message.type === "error"
  }

  #tryLater(patterns: string[]): void {
    for (const pattern of patterns) this.#told?.delete(pattern)
    setTimeout(() => this.#sync(), LINGER_MS)
  }

  #takeRefusal(patterns: string[]): void {
    for (const pattern of patterns) {
      this.#told?.delete(pattern)
      if (patterns.length > 1) this.#doubtful.add(pattern)
      else this.#refused.add(pattern)
    }
    this.#send("ping") // ten bad messages in a row would end the connection; a good one between them is not in that row
    this.#sync()
  }

  #sync(): void {
    const told = this.#told
    if (told === undefined || this.#request !== undefined) return
    const add = this.#interests.wishes(told).add.filter((pattern) => !this.#refused.has(pattern))
    const sure = add.filter((pattern) => !this.#doubtful.has(pattern))
    const patterns = sure.length > 0 ? sure : add.slice(0, 1)
    if (patterns.length === 0) return
    if (told.size + patterns.length > MAX_SUBSCRIPTIONS) this.#takeBack()
    this.#requests += 1
    const id = `subscribe-${this.#requests}`
    if (!this.#send("subscribe", { types: patterns }, id)) return
    this.#request = { id, patterns }
    for (const pattern of patterns) told.add(pattern)
  }

  #takeBack(): void {
    const told = this.#told
    const types = told === undefined ? [] : this.#interests.wishes(told).remove
    if (types.length === 0 || !this.#send("unsubscribe", { types })) return
    for (const type of types) told?.delete(type)
  }
}
