// Which client the hooks below use: one for all, so that a page has one connection.
import { EventClient } from "engine-events-client"
import type { EventClientOptions } from "engine-events-client"
import type { ReactElement, ReactNode } from "react"
import { createContext, useContext, useEffect, useState } from "react"

export type EngineEventsProps = { children?: ReactNode } & (
  | {
      /** A client of your own, which you start and close. */
      client: EventClient
    }
  | ({ client?: undefined } & EventClientOptions)
)

const Context = createContext<EventClient | undefined>(undefined)

let ofThisHost: EventClient | undefined

function clientOfThisHost(): EventClient {
  return (ofThisHost ??= new EventClient({ url: "/ws", types: [] }))
}

/**
 * Gives the hooks below it their client: yours, or one that is made for `url` when this mounts and closed when it unmounts.
 * Options other than `client` are read once: give another `key` with another url. By default the client subscribes to
 * nothing but what the hooks want.
 */
export function EngineEvents(props: EngineEventsProps): ReactElement {
  return props.client === undefined ? (
    <OwnClient options={props}>{props.children}</OwnClient>
  ) : (
    <Context.Provider value={props.client}>{props.children}</Context.Provider>
  )
}

function OwnClient({ options, children }: { options: EventClientOptions; children: ReactNode }): ReactElement {
  const [client] = useState(() => new EventClient({ types: [], ...options }))
  useEffect(() => {
    client.start()
    return () => client.close()
  }, [client])
  return <Context.Provider value={client}>{children}</Context.Provider>
}

/** The client of the provider above; without one, that of the page's own host, `/ws`, which is never closed. */
export function useClient(): EventClient {
  const given = useContext(Context)
  useEffect(() => {
    if (given === undefined) clientOfThisHost().start()
  }, [given])
  return given ?? clientOfThisHost()
}
