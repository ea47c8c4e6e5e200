// The client: one connection kept alive to one gateway, and what it tells. Owns the timers between connections.
// Past 300 lines, because all of it moves the same few fields: where the connection is in its life.
import { backoffMs, comesBack, GOOD_AFTER_MS, wishedMs } from "./backoff.js"
import type { SocketConstructor } from "./connection.js"
import { Connection, GIVEN_UP } from "./connection.js"
import { Credentials } from "./credentials.js"
import type { Listener } from "./interests.js"
import { Interests } from "./interests.js"
import { callSafely, Listeners } from "./listeners.js"
import { keep, recall } from "./memory.js"
import type { CompressionJob, Message, RequestError, StateData, StateType, Welcome } from "./messages.js"
import { DEFAULT_TYPES } from "./messages.js"
import type { EventClientOptions } from "./options.js"
import { socketUrl } from "./options.js"
import { listenToPage } from "./page_events.js"
import { Session } from "./session.js"
import type { ConnectionState, Status } from "./status.js"
import { StatusBoard } from "./status.js"
import type { Change } from "./store.js"
import { Subscriber } from "./subscriber.js"
import type { TokenSource } from "./token.js"
import type { Topic } from "./topic.js"

/** A connection that was being made when we woke may be waiting for a network that is gone. */
const DIAL_AGAIN_AFTER_MS = 2_000

export class EventClient {
  readonly #options: EventClientOptions
  readonly #url: URL
  readonly #session = new Session()
  readonly #interests = new Interests()
  readonly #subscriber: Subscriber
  readonly #credentials: Credentials
  readonly #board: StatusBoard
  readonly #changeListeners = new Map<Change, Listeners>()
  #state: ConnectionState = "closed"
  #connection: Connection | undefined
  #dialledAtMs = 0
  #opened = 0
  #openedAtMs: number | undefined
  #failures = 0
  #isOrdered = false
  #retryTimer: ReturnType<typeof setTimeout> | undefined
  #retryAt: Date | undefined
  #end: { code: number; reason: string } | undefined
  #problem: RequestError | undefined
  #lastMessageAtMs: number | undefined
  #stopListening: (() => void) | undefined

  /** TypeError, RangeError: what `url` or `types` say is not possible. Nothing happens before `start`. */
  constructor(options: EventClientOptions) {
    this.#options = options
    this.#url = socketUrl(options.url)
    this.#interests.add(options.types ?? DEFAULT_TYPES)
    const send = (type: string, data?: object, id?: string) => this.#connection?.send(type, data, id) ?? false
    this.#subscriber = new Subscriber(this.#interests, send)
    this.#credentials = new Credentials(options.token, (token) => send("auth", { token }))
    this.#board = new StatusBoard(() => this.#makeStatus())
  }

  /** Connects, and comes back after every loss, until `close`. Again after the gateway refused us for good. */
  start(): void {
    if (this.#state !== "closed") return
    if (this.#opened === 0 && this.#options.storage !== undefined && this.#session.position === undefined) {
      const saved = recall(this.#options.storage, this.#url.href)
      if (saved !== undefined) this.#session.restore(saved)
    }
    this.#stopListening ??= listenToPage({
      woke: () => this.#wake(),
      doubted: () => this.#connection?.suspect(),
      left: () => this.#leave(),
    })
    this.#failures = 0
    this.#dial()
  }

  /** Ends the connection. Positions and states stay, marked DISCONNECTED; `start` goes on from there. */
  close(): void {
    this.#stopListening?.()
    this.#stopListening = undefined
    this.#save()
    this.#stop("closed")
  }

  /** The present state of the connection: another object only when something changed. Counters change 4 times a second. */
  get status(): Status {
    return this.#board.status
  }

  /** Gives what ends it, as all of these do. */
  onStatus(listener: () => void): () => void {
    return this.#board.onStatus(listener)
  }

  /**
   * Wants these types and patterns, until the function it gives is called. `listener` gets every message of them, each
   * log event once. TypeError: one is neither type nor pattern. RangeError: more than 64 in all.
   */
  subscribe(patterns: readonly string[], listener?: Listener): () => void {
    const release = this.#interests.add(patterns, listener)
    this.#subscriber.wanted()
    return () => {
      release()
      this.#subscriber.unwanted()
    }
  }

  /** The latest state of this type as far as it is known: another object only when something changed. */
  topic<T extends StateType>(type: T): Topic<StateData[T]> {
    return this.#session.store.topic(type)
  }

  /** Subscribes to the type, and tells when `topic` has changed. */
  onTopic(type: StateType, listener: () => void): () => void {
    return this.#onChange(type, type, listener)
  }

  /** Every compression job that is known, by its id. */
  jobs(): ReadonlyMap<string, Topic<CompressionJob>> {
    return this.#session.store.jobs()
  }

  /** Subscribes to the jobs, and tells when `jobs` has changed. */
  onJobs(listener: () => void): () => void {
    return this.#onChange("jobs", "compression.update", listener)
  }

  /** From now on this token: shown to the gateway at once. After a refusal (4501, 4503) it connects again with it. */
  setToken(token: TokenSource): void {
    this.#credentials.source = token
    if (this.#state === "open") void this.#credentials.renew()
    else if (this.#state !== "closed") this.#redial()
    else if (this.#stopListening !== undefined) this.start() // not closed by us: refused
  }

  #onChange(change: Change, type: StateType, listener: () => void): () => void {
    let listeners = this.#changeListeners.get(change)
    if (listeners === undefined) this.#changeListeners.set(change, (listeners = new Listeners()))
    const forget = listeners.add(listener)
    const release = this.subscribe([type])
    return () => {
      forget()
      release()
    }
  }

  // --- connecting

  #dial(): void {
    this.#dialledAtMs = Date.now()
    this.#isOrdered = false
    clearTimeout(this.#retryTimer)
    this.#setState("connecting")
    this.#credentials.begin((token) => {
      if (token === undefined && this.#credentials.source !== undefined) this.#lost(GIVEN_UP, "no token")
      else this.#connect(token)
    })
  }

  #connect(token: string | undefined): void {
    const WebSocket = this.#options.WebSocket ?? (globalThis as { WebSocket?: SocketConstructor }).WebSocket
    try {
      if (WebSocket === undefined) throw new TypeError("there is no WebSocket here: give one as an option")
      this.#connection = new Connection(WebSocket, this.#address(), token, {
        message: (message) => this.#receive(message),
        ended: (code, reason) => this.#lost(code, reason),
      })
    } catch (error) {
      this.#stop("closed") // ws: from a page of https:, say, which no second attempt changes
      throw error
    }
  }

  /** With a position it asks for just what the position stands for; what is wanted beside that is asked for afterwards. */
  #address(): string {
    const url = new URL(this.#url)
    const { position, subscriptions } = this.#session
    const types = position === undefined ? this.#interests.wanted : [...new Set([...subscriptions, "heartbeat"])]
    url.searchParams.set("types", types.join(","))
    if (position !== undefined) {
      url.searchParams.set("epoch", position.epoch)
      url.searchParams.set("seq", String(position.seq))
    }
    return url.href
  }

  #receive(message: Message): void {
    const nowMs = Date.now()
    this.#lastMessageAtMs = nowMs
    const { deliver, welcome, gap, again, barrier, refresh } = this.#session.receive(message, nowMs)
    if (again) {
      this.#redial()
      return
    }
    if (welcome !== undefined) this.#welcomed(welcome)
    if (barrier !== undefined) this.#connection?.send("ping", {}, barrier)
    if (refresh !== undefined) this.#subscriber.refresh(refresh)
    if (message.type === "auth") this.#subscriber.reconsider()
    if (this.#subscriber.answered(message)) this.#problem = message.data as RequestError
    if (gap !== undefined) callSafely(() => this.#options.onGap?.(gap))
    this.#tellChanges()
    if (deliver) for (const hear of this.#interests.listeners(message)) callSafely(() => hear(message))
    if (message.seq === undefined) this.#board.tell()
    else this.#board.tellSoon()
  }

  #welcomed(welcome: Welcome): void {
    if (this.#state !== "open") {
      this.#opened += 1
      this.#openedAtMs = Date.now()
      this.#problem = undefined
      this.#connection?.watch(welcome.heartbeat_s)
      this.#setState("open")
    }
    this.#subscriber.begin(welcome.subscriptions)
  }

  // --- losing

  #lost(code: number, reason: string): void {
    const lastedMs = this.#openedAtMs === undefined ? 0 : Date.now() - this.#openedAtMs
    if (lastedMs >= GOOD_AFTER_MS) this.#failures = 0
    this.#end = { code, reason }
    if (!comesBack(code)) {
      this.#stop("closed")
      return
    }
    const wish = wishedMs(reason)
    const waitMs = wish ?? backoffMs(this.#failures++, Math.random())
    this.#stop("waiting", waitMs)
    this.#isOrdered = wish !== undefined
    this.#retryTimer = setTimeout(() => this.#dial(), waitMs)
  }

  #redial(): void {
    this.#stop("connecting")
    this.#dial()
  }

  /** Nothing is connected, and nothing on its way. */
  #stop(state: ConnectionState, waitMs?: number): void {
    clearTimeout(this.#retryTimer)
    this.#credentials.end()
    this.#connection?.drop()
    this.#connection = undefined
    this.#openedAtMs = undefined
    this.#subscriber.end()
    this.#session.disconnected()
    this.#setState(state, waitMs)
    this.#tellChanges()
  }

  // --- the page around us

  #wake(): void {
    if (this.#state === "open") this.#connection?.suspect()
    else if (this.#state === "waiting" && !this.#isOrdered) this.#dial()
    else if (this.#state === "connecting" && Date.now() - this.#dialledAtMs > DIAL_AGAIN_AFTER_MS) {
      this.#redial()
    }
  }

  /** An open WebSocket would keep the page out of the back-forward cache, and nobody would be there to read it. */
  #leave(): void {
    if (this.#state === "closed") return
    this.#save()
    this.#stop("waiting", 0)
    this.#isOrdered = false
  }

  #save(): void {
    const saved = this.#session.save()
    if (this.#options.storage && saved) keep(this.#options.storage, this.#url.href, saved)
  }

  // --- telling

  #setState(state: ConnectionState, waitMs?: number): void {
    this.#state = state
    this.#retryAt = state === "waiting" && waitMs !== undefined ? new Date(Date.now() + waitMs) : undefined
    this.#board.tell()
  }

  #tellChanges(): void {
    for (const change of this.#session.store.changes()) this.#changeListeners.get(change)?.call()
  }

  #makeStatus(): Status {
    const { position, clientId, bridgeConnected, received, superseded, lost, subscriptions, freshness } = this.#session
    return {
      state: this.#state,
      url: this.#url.href,
      clientId,
      epoch: position?.epoch,
      seq: position?.seq,
      retryAt: this.#retryAt,
      closeCode: this.#end?.code,
      closeReason: this.#end?.reason,
      problem: this.#problem,
      bridgeConnected,
      lastMessageAt: this.#lastMessageAtMs === undefined ? undefined : new Date(this.#lastMessageAtMs),
      received,
      superseded,
      lost,
      reconnects: Math.max(0, this.#opened - 1),
      subscriptions,
      freshness,
    }
  }
}
