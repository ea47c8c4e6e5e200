// One WebSocket from dialling to its end, which comes exactly once: by the other end, by silence, or by us.
import type { Message } from "./messages.js"
import { parseMessage } from "./messages.js"
import { Watchdog } from "./watchdog.js"

/** The part of a WebSocket that is used, in browsers and in Node. */
interface Socket {
  onopen: (() => void) | null
  onmessage: ((event: { data: unknown }) => void) | null
  onclose: ((event: { code: number; reason: string }) => void) | null
  onerror: (() => void) | null
  readyState: number
  send(text: string): void
  close(code?: number, reason?: string): void
  /** What the ws package has: an end without waiting for an answer. */
  terminate?(): void
}
const OPEN = 1

/** A class with the interface of a browser's WebSocket: Node 20 has none of its own, the ws package has. */
export type SocketConstructor = new (url: string) => Pick<Socket, "send" | "close">

/** We gave up the connection ourselves; in `Status.closeCode` only, never sent. */
export const GIVEN_UP = 4000
const WELCOME_WITHIN_MS = 10_000

export interface ConnectionListener {
  message(message: Message): void
  /** Nothing comes after this. */
  ended(code: number, reason: string): void
}

export class Connection {
  readonly #socket: Socket
  readonly #watchdog = new Watchdog()
  #questions = 0
  #listener: ConnectionListener | undefined
  #timer: ReturnType<typeof setTimeout> | undefined

  /** `token`: shown as the first message. Throws what the WebSocket's constructor throws: SyntaxError for a bad URL. */
  constructor(WebSocket: SocketConstructor, url: string, token: string | undefined, listener: ConnectionListener) {
    const socket = (this.#socket = new WebSocket(url) as unknown as Socket)
    this.#listener = listener
    socket.onopen = () => {
      if (token !== undefined) this.send("auth", { token })
    }
    socket.onmessage = ({ data }) => {
      const message = parseMessage(data)
      this.#watchdog.heard(Date.now(), message !== undefined && this.#isAnswer(message))
      if (message !== undefined) this.#listener?.message(message)
    }
    socket.onclose = ({ code, reason }) => this.#end(code, reason)
    socket.onerror = () => undefined // its close follows
    this.#timer = setTimeout(() => this.giveUp("no welcome in time"), WELCOME_WITHIN_MS)
  }

  /** False: it cannot be sent. */
  send(type: string, data: object = {}, id?: string | number): boolean {
    if (this.#socket.readyState !== OPEN) return false
    this.#socket.send(JSON.stringify({ type, data, ...(id !== undefined && { id }) }))
    return true
  }

  /** The welcome came: from now on silence is suspicious. */
  watch(heartbeatS: number): void {
    this.#watchdog.begin(Date.now(), heartbeatS)
    this.#lookLater()
  }

  /** It may be dead: asks, and gives up soon if nothing comes. */
  suspect(): void {
    this.#watchdog.suspect(Date.now())
    this.#ask()
    this.#lookLater()
  }

  /** Ends it, whether or not the other end takes note. */
  giveUp(reason: string): void {
    this.#release()
    this.#end(GIVEN_UP, reason)
  }

  /** Ends it without another word to the listener. */
  drop(): void {
    this.#listener = undefined
    this.#release()
    this.#end(GIVEN_UP, "")
  }

  #lookLater(): void {
    clearTimeout(this.#timer)
    this.#timer = setTimeout(() => this.#look(), Math.max(0, this.#watchdog.nextLookMs() - Date.now()))
  }

  #look(): void {
    const verdict = this.#watchdog.look(Date.now())
    if (verdict === "dead") {
      this.giveUp("silent")
      return
    }
    if (verdict === "ping") this.#ask()
    this.#lookLater()
  }

  #ask(): void {
    this.#questions += 1
    this.send("ping", {}, this.#question)
  }

  get #question(): string {
    return `alive-${this.#questions}`
  }

  /** A refusal answers too; one for too many messages has no id. */
  #isAnswer({ type, id }: Message): boolean {
    return (type === "pong" && id === this.#question) || type === "error"
  }

  /** Nobody waits for the closing handshake: the other end may be frozen. */
  #release(): void {
    const socket = this.#socket
    socket.onopen = socket.onmessage = socket.onclose = null
    socket.close(1000)
    socket.terminate?.()
  }

  #end(code: number, reason: string): void {
    clearTimeout(this.#timer)
    const listener = this.#listener
    this.#listener = undefined
    listener?.ended(code, reason)
  }
}
