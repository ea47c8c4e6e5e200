// Clients for tests: made with the ws package's WebSocket, closed at the end of the test, with what they heard.
import { onTestFinished } from "vitest"
import WebSocket from "ws"
import type { EventClientOptions, Gap, Message, StateType } from "../../src/index.js"
import { EventClient, STATE_TYPES } from "../../src/index.js"
import { within } from "./waiting.js"

export class Observer {
  readonly client: EventClient
  readonly messages: Message[] = []
  readonly gaps: Gap[] = []
  /** Every error code that each topic was shown with, fresh as "", in the order of their coming; each once in a row. */
  readonly shown: Record<StateType, string[]> = {
    "system.status": [],
    "storage.update": [],
    "agent.status": [],
    "compression.update": [],
  }

  /** `watched`: topics to subscribe to and to note. */
  constructor(options: EventClientOptions, watched: readonly StateType[] = STATE_TYPES) {
    this.client = new EventClient({ WebSocket, onGap: (gap) => this.gaps.push(gap), ...options })
    onTestFinished(() => this.client.close())
    for (const type of watched) {
      const note = () => {
        const code = this.client.topic(type).errorCode ?? ""
        if (this.shown[type].at(-1) !== code) this.shown[type].push(code)
      }
      this.client.onTopic(type, note)
    }
  }

  /** Starts and waits for the welcome. */
  async open(): Promise<this> {
    this.client.start()
    await this.sees("open", () => this.client.status.state === "open")
    return this
  }

  /** Subscribes and notes what comes; gives what ends it. */
  listen(...patterns: string[]): () => void {
    return this.client.subscribe(patterns, (message) => this.messages.push(message))
  }

  /** The numbers of the scripted engine's notifications, as they came. */
  get numbers(): number[] {
    return this.messages.flatMap(({ type, data }) => {
      const text = (data as { message?: unknown }).message
      return type === "notification" && typeof text === "string" && text.startsWith("n=") ? [Number(text.slice(2))] : []
    })
  }

  async sees(what: string, isTrue: () => boolean, limitMs = 15_000): Promise<void> {
    const { state, closeCode, closeReason } = this.client.status
    await within(limitMs, `${what} (at first ${state} ${closeCode ?? ""} ${closeReason ?? ""})`, isTrue)
  }

  async seesFresh(type: StateType, limitMs?: number): Promise<void> {
    await this.sees(`${type} fresh`, () => !this.client.topic(type).stale, limitMs)
  }

  async seesStale(type: StateType, code: string, limitMs?: number): Promise<void> {
    await this.sees(`${type} stale: ${code}`, () => this.client.topic(type).errorCode === code, limitMs)
  }
}

/** All whole numbers from the first to the last of a list: what it is when nothing is missing and nothing is twice. */
export function everyNumberOf(numbers: readonly number[]): number[] {
  const first = numbers[0] ?? 0
  return Array.from({ length: (numbers.at(-1) ?? -1) - first + 1 }, (_, index) => first + index)
}
