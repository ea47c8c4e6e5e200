// What the messages of one gateway add up to, over all connections to it: position, states, what was missed, and what is
// to be asked. Pure: no socket, no timer, no clock.
import type { ConnectionError, FreshnessMarks, Heartbeat, Message, Subscriptions, Welcome } from "./messages.js"
import { isStateType, isWelcome, STATE_TYPES } from "./messages.js"
import { covers } from "./patterns.js"
import type { Gap, Position } from "./position.js"
import { welcomed } from "./position.js"
import type { SavedState } from "./store.js"
import { StateStore } from "./store.js"

/** What a message leads to. */
export interface Reaction {
  /** It is news: listeners get it. */
  deliver: boolean
  welcome?: Welcome
  gap?: Gap
  /** The connection stands at the wrong place: connect again, with our position. */
  again?: boolean
  /** Send a ping with this id: its pong says that all that the gateway had to say on connecting has been said. */
  barrier?: string
  /** Types to unsubscribe from and subscribe to again, which brings their latest states. */
  refresh?: string[]
}

/** No message of the gateway's own takes so long: it sends none to those who do not read. */
const CLOCK_WAS_SET_MS = 5_000

/** What a page that comes back needs. */
export interface Saved {
  position: Position
  subscriptions: string[]
  states: SavedState[]
}

export class Session {
  readonly store = new StateStore()
  position: Position | undefined
  clientId: string | undefined
  /** What the gateway said we are subscribed to: our position is complete for these. */
  subscriptions: readonly string[] = []
  /** Undefined: not known. */
  bridgeConnected: boolean | undefined
  /** By topic, how long ago it was last known to be fresh when the last heartbeat was made, seconds. */
  freshness: Readonly<Record<string, number>> = {}
  received = 0
  superseded = 0
  lost = 0
  #told: (Position & { lost: number; superseded: number }) | undefined
  #welcome: Welcome | undefined
  #isRecovered = false
  #isSettled = false
  #pongCame = false
  #barriers = 0
  #replayed = 0
  #offsetMs: number | undefined

  /** A message of the present connection. `nowMs`: Unix milliseconds by our clock. */
  receive(message: Message, nowMs: number): Reaction {
    this.received += 1
    this.#compareClocks(message, nowMs)
    if (isWelcome(message)) return this.#takeWelcome(message.data)
    const deliver = this.#takePosition(message)
    if (deliver) this.store.take(message, this.position?.epoch, this.#offsetMs ?? 0)
    this.#noteBridge(message)
    const reaction = this.#takeOwn(message, { deliver })
    return this.#settle(message, reaction)
  }

  /** The connection is gone. */
  disconnected(): void {
    this.#welcome = undefined
    this.bridgeConnected = undefined
    this.clientId = undefined
    this.#offsetMs = undefined
    this.store.goAway()
  }

  /** The gateway answered that these are our subscriptions now. */
  subscribed(subscriptions: readonly string[]): void {
    this.subscriptions = subscriptions
    this.store.markTypes((type) => covers(subscriptions, type))
  }

  save(): Saved | undefined {
    if (this.position === undefined) return undefined
    return { position: this.position, subscriptions: [...this.subscriptions], states: this.store.save() }
  }

  restore(saved: Saved): void {
    this.position = saved.position
    this.subscriptions = saved.subscriptions
    this.store.restore(saved.states)
  }

  /** The smallest difference is the truest: it has the least of the network's delay in it. One that is much larger means
   * that a clock was set. */
  #compareClocks(message: Message, nowMs: number): void {
    if (message.seq !== undefined) return
    const offsetMs = nowMs - Date.parse(message.timestamp)
    const before = this.#offsetMs ?? Infinity
    if (offsetMs < before || offsetMs - before > CLOCK_WAS_SET_MS) this.#offsetMs = offsetMs
  }

  #takeWelcome(welcome: Welcome): Reaction {
    const isFirst = this.#welcome === undefined
    const before = this.position
    const { position, gap: missed, again } = welcomed(before, welcome, isFirst)
    this.#welcome = welcome
    this.position = position
    this.clientId = welcome.client_id
    if (again) return { deliver: false, again }
    this.#isRecovered = isFirst && welcome.resume.recovered
    this.#isSettled = this.#pongCame = false
    this.#replayed = 0
    this.store.connect()
    if (welcome.epoch === "") {
      this.bridgeConnected = false
      this.store.markBridgeAway()
    } else if (!this.#isRecovered) this.store.doubt()
    this.subscribed(welcome.subscriptions)
    const gap = missed && this.#untold(missed, before)
    if (gap !== undefined) this.#count(gap)
    this.#barriers += 1
    return { deliver: true, welcome, barrier: this.#barrier, ...(gap && { gap }) }
  }

  get #barrier(): string {
    return `settled-${this.#barriers}`
  }

  /** False: we have had this one. */
  #takePosition({ seq, snapshot }: Message): boolean {
    if (seq === undefined || snapshot === true || this.position === undefined) return true
    if (seq <= this.position.seq) return false
    this.position = { epoch: this.position.epoch, seq }
    this.#replayed += 1
    return true
  }

  #noteBridge({ type, seq, snapshot, data }: Message): void {
    if (seq !== undefined) {
      if (snapshot === true || seq > (this.#welcome?.seq ?? Infinity)) this.bridgeConnected = true
    } else if (type === "heartbeat") {
      this.bridgeConnected = (data as Heartbeat).bridge_connected
    } else if (isStateType(type) || type === "rpc_error") {
      if ((data as Partial<FreshnessMarks>).error_code === "BRIDGE_DISCONNECT") this.bridgeConnected = false
    }
  }

  #takeOwn(message: Message, reaction: Reaction): Reaction {
    if (message.type === "subscribe" || message.type === "unsubscribe") {
      this.subscribed((message.data as Subscriptions).subscriptions)
    } else if (message.type === "heartbeat") {
      const ages = Object.entries((message.data as Heartbeat).freshness)
      this.freshness = Object.fromEntries(ages.filter((age): age is [string, number] => age[1] !== null))
    } else if (message.type === "connection_error") {
      const { client_id, reason, superseded, lost, from_seq, to_seq } = message.data as ConnectionError
      if (reason !== "behind" || client_id !== this.clientId) return reaction
      reaction.gap = {
        lost: lost ?? 0,
        superseded: superseded ?? 0,
        fromSeq: from_seq ?? 0,
        toSeq: to_seq ?? 0,
        reason,
      }
      this.#count(reaction.gap)
    } else if (message.type === "pong" && message.id === this.#barrier) this.#pongCame = true
    return reaction
  }

  /** Has the gateway said all that it had to say when we came? Then what it did not mention is as it was. */
  #settle(message: Message, reaction: Reaction): Reaction {
    const welcome = this.#welcome
    if (welcome === undefined) return reaction
    const { seq, snapshot, type } = message
    const isLive = seq !== undefined && snapshot !== true && seq > welcome.seq
    const isReplayed = isLive || this.#replayed >= welcome.resume.replayed
    // those who are behind get no heartbeat
    if (!this.#isSettled && ((this.#pongCame && isReplayed) || type === "heartbeat")) {
      this.#isSettled = true
      // an outage is told at once to whoever comes while it lasts
      if (covers(this.subscriptions, "rpc_error") && welcome.epoch !== "") this.bridgeConnected ??= true
      if (this.#isRecovered) {
        this.store.confirm()
        this.#bridgeSpeaks(welcome.epoch)
        const refresh = this.#unsettled()
        if (refresh.length > 0) reaction.refresh = refresh
      } else this.#bridgeSpeaks(welcome.epoch)
    } else if (this.#isSettled && type === "heartbeat") this.#bridgeSpeaks((message.data as Heartbeat).epoch)
    return reaction
  }

  /** While the bridge is there, nothing stands under a mark that it does not say again. */
  #bridgeSpeaks(epoch: string): void {
    if (this.bridgeConnected !== true || epoch !== this.position?.epoch) return
    this.store.unmark(epoch)
    this.store.forgetUnconfirmedJobs()
  }

  /** States that a recovered position does not bring: those that the gateway had marked, and those that never came. */
  #unsettled(): string[] {
    if (this.bridgeConnected === false) return []
    return STATE_TYPES.filter((type) => {
      const others = this.subscriptions.filter((pattern) => pattern !== type)
      return this.subscriptions.includes(type) && !covers(others, type) && this.store.isUnsettled(type)
    })
  }

  /** A connection that breaks before the first replayed event leaves us where we were: the next tells the same again. */
  #untold(gap: Gap, before: Position | undefined): Gap | undefined {
    if (gap.reason !== "resume" || before === undefined) return gap
    const { epoch, seq } = before
    const told = this.#told?.epoch === epoch && this.#told.seq === seq ? this.#told : undefined
    this.#told = { epoch, seq, lost: gap.lost, superseded: gap.superseded }
    const lost = Math.max(0, gap.lost - (told?.lost ?? 0))
    const superseded = Math.max(0, gap.superseded - (told?.superseded ?? 0))
    return lost + superseded > 0 ? { ...gap, lost, superseded } : undefined
  }

  #count(gap: Gap): void {
    this.lost += gap.lost
    this.superseded += gap.superseded
  }
}
