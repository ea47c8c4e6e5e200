/** What the engine and the bridge have to say to people, newest first. */
import { useNotifications } from "engine-events-react"

import { clock } from "../format"
import { Nothing, Panel } from "../parts/Panel"

const LIMIT = 100
const CONDITIONS: Record<string, string> = { info: "off", warning: "warning", error: "bad" }

export function Notifications() {
  const { notifications } = useNotifications({ limit: LIMIT })
  return (
    <Panel title="Notifications" name="notifications" about={notifications.length > 0 ? `last ${notifications.length}` : ""}>
      {notifications.length === 0 && <Nothing>Nothing since this page was opened.</Nothing>}
      <ol className="notes scroll" tabIndex={0} aria-label="Notifications, newest first">
        {notifications.map((message) => (
          <li key={message.seq ?? message.timestamp}>
            <time className="number" dateTime={message.timestamp}>
              {clock(new Date(message.timestamp))}
            </time>
            <span className={`badge ${CONDITIONS[message.data.level] ?? "off"}`}>{message.data.level}</span>
            <span className="text">
              {message.data.message}
              {message.data.source && <small> {message.data.source}</small>}
            </span>
          </li>
        ))}
      </ol>
    </Panel>
  )
}
