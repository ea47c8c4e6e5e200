// The connection itself.
import type { EventClient, Status } from "engine-events-client"
import { useMemo } from "react"
import { useClient } from "./provider.js"
import type { Select } from "./view.js"
import { useView } from "./view.js"

export interface ConnectionView extends Status {
  readonly client: EventClient
}

/** State, position and counters of the connection; the counters change four times a second at most. */
export function useWebSocket(): ConnectionView
export function useWebSocket<S>(select: Select<ConnectionView, S>): S
export function useWebSocket<S>(select?: Select<ConnectionView, S>): ConnectionView | S {
  const client = useClient()
  const subscribe = useMemo(() => (changed: () => void) => client.onStatus(changed), [client])
  return useView(client, subscribe, readStatus, select)
}

function readStatus(client: EventClient): ConnectionView {
  return { ...client.status, client }
}
