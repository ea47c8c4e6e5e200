// The log: notifications, and messages as they come.
import type { ConnectionState, EventClient, Listener, Message, Notification, StaleCode } from "engine-events-client"
import { isWelcome } from "engine-events-client"
import { useEffect, useMemo, useRef } from "react"
import { useClient } from "./provider.js"
import { both, useView } from "./view.js"

export interface NotificationsView {
  /** The latest, the newest first. */
  readonly notifications: readonly Message<Notification>[]
  /** The same: every hook has its data under this name. */
  readonly data: readonly Message<Notification>[]
  /** Whether newer ones may exist that cannot reach us at the moment. */
  readonly stale: boolean
  /** Stale: when something last reached us. */
  readonly lastUpdate: Date | undefined
  readonly errorCode: StaleCode | undefined
  readonly connection: ConnectionState
}

const DEFAULT_LIMIT = 50
const KEPT = 500

/** What one client's hooks have heard, kept while pages change: a component that comes back finds it again. */
class Heard {
  #items: readonly Message<Notification>[] = []
  readonly #cuts = new Map<number, readonly Message<Notification>[]>()
  readonly #changed = new Set<() => void>()
  #hooks = 0
  #stop: (() => void) | undefined

  /** The same object until there is more. */
  latest(limit: number): readonly Message<Notification>[] {
    let cut = this.#cuts.get(limit)
    if (cut === undefined) this.#cuts.set(limit, (cut = this.#items.slice(0, limit)))
    return cut
  }

  listen(client: EventClient, changed: () => void): () => void {
    this.#changed.add(changed)
    this.#hooks += 1
    this.#stop ??= client.subscribe(["notification"], (message) => {
      if (isWelcome(message)) return
      this.#items = [message as Message<Notification>, ...this.#items.slice(0, KEPT - 1)]
      this.#cuts.clear()
      for (const tell of this.#changed) tell()
    })
    return () => {
      this.#changed.delete(changed)
      this.#hooks -= 1
      if (this.#hooks > 0) return
      this.#stop?.()
      this.#stop = undefined
    }
  }
}

const heardBy = new WeakMap<EventClient, Heard>()

function heard(client: EventClient): Heard {
  let own = heardBy.get(client)
  if (own === undefined) heardBy.set(client, (own = new Heard()))
  return own
}

/** Notifications since the page began to listen. `limit`: how many, by default 50, at most 500. */
export function useNotifications(options: { limit?: number } = {}): NotificationsView {
  const client = useClient()
  const limit = options.limit ?? DEFAULT_LIMIT
  const [subscribe, read] = useMemo(() => {
    const own = heard(client)
    const readNotifications = ({ status }: EventClient): NotificationsView => {
      const notifications = own.latest(limit)
      const isOpen = status.state === "open"
      const code = !isOpen ? "DISCONNECTED" : status.bridgeConnected === false ? "BRIDGE_DISCONNECT" : undefined
      return {
        notifications,
        data: notifications,
        stale: code !== undefined,
        lastUpdate: code === undefined ? undefined : status.lastMessageAt,
        errorCode: code,
        connection: status.state,
      }
    }
    const listen = both(
      (changed) => own.listen(client, changed),
      (changed) => client.onStatus(changed),
    )
    return [listen, readNotifications]
  }, [client, limit])
  return useView(client, subscribe, read, undefined)
}

/** Every message of these types and patterns, without rendering by itself. `listener` may be another at each render. */
export function useMessages(patterns: readonly string[], listener: Listener): void {
  const client = useClient()
  const latest = useRef(listener)
  useEffect(() => {
    latest.current = listener
  })
  const names = patterns.join(" ")
  useEffect(() => {
    if (names === "") return undefined
    return client.subscribe(names.split(" "), (message) => latest.current(message))
  }, [client, names])
}
