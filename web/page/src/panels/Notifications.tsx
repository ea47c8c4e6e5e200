/** What the engine and the bridge have to say to people, newest first. */
import type { Message, Notification } from "engine-events-client"
import { useNotifications } from "engine-events-react"
import { memo } from "react"

import { clock } from "../format"
import { Nothing, Panel } from "../parts/Panel"

const LIMIT = 50
const CONDITIONS: Record<string, string> = { info: "off", warning: "warning", error: "bad" }

export function Notifications() {
  const view = useNotifications({ limit: LIMIT })
  const { notifications } = view
  return (
    <Panel
      title="Notifications"
      name="notifications"
      topic={view}
      about={notifications.length > 0 ? `the last ${notifications.length}` : ""}
    >
      {notifications.length === 0 && <Nothing>Nothing since this page was opened.</Nothing>}
      {notifications.length > 0 && (
        <ol className="notes scroll" tabIndex={0} aria-label="Notifications, newest first">
          {notifications.map((message) => (
            <Note key={message.seq ?? message.timestamp} message={message} />
          ))}
        </ol>
      )}
    </Panel>
  )
}

const Note = memo(function Note({ message }: { message: Message<Notification> }) {
  const { level, message: text, source } = message.data
  return (
    <li>
      <time className="number" dateTime={message.timestamp}>
        {clock(new Date(message.timestamp))}
      </time>
      <span className={`badge ${CONDITIONS[level] ?? "off"}`}>{level}</span>
      <span className="text">
        <span className="said">{text}</span>
        {source && <small> {source}</small>}
      </span>
    </li>
  )
})
