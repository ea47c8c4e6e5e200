// How a hook reads the store: the part that a component uses, and a new object only when that part changed.
import type { ConnectionState, EventClient, Topic } from "engine-events-client"
import { useCallback, useRef, useSyncExternalStore } from "react"

/** A topic, and how the connection is. */
export interface View<D> extends Topic<D> {
  /** While this is not "open", everything is stale. */
  readonly connection: ConnectionState
}

/** What a component uses of a view. Objects that it makes anew each time count as unchanged while their members are. */
export type Select<V, S> = (view: V) => S

/** Subscribes to several sources as one. */
export function both(...subscriptions: ((changed: () => void) => () => void)[]): (changed: () => void) => () => void {
  return (changed) => {
    const ends = subscriptions.map((subscribe) => subscribe(changed))
    return () => {
      for (const end of ends) end()
    }
  }
}

/** `read` must be cheap; its object's members are compared, so that it may be another object each time. */
export function useView<V extends object, S>(
  client: EventClient,
  subscribe: (changed: () => void) => () => void,
  read: (client: EventClient) => V,
  select: Select<V, S> | undefined,
): S | V {
  const last = useRef<{ value: S | V } | undefined>(undefined)
  const snapshot = useCallback(() => {
    const view = read(client)
    const value = select === undefined ? view : select(view)
    if (last.current !== undefined && isSame(last.current.value, value)) return last.current.value
    last.current = { value }
    return value
  }, [client, read, select])
  return useSyncExternalStore(subscribe, snapshot, snapshot)
}

function isSame(one: unknown, other: unknown): boolean {
  if (Object.is(one, other)) return true
  if (!isPlain(one) || !isPlain(other)) return false
  const names = Object.keys(one)
  return names.length === Object.keys(other).length && names.every((name) => Object.is(one[name], other[name]))
}

function isPlain(value: unknown): value is Record<string, unknown> {
  return typeof value === "object" && value !== null && Object.getPrototypeOf(value) === Object.prototype
}
