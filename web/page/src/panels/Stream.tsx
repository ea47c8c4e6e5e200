/** The last line: where in the stream this page is, how much comes, and what did not. */
import { useWebSocket } from "engine-events-react"
import { useEffect, useRef, useState } from "react"

import { onTick } from "../clock"
import { count, UNKNOWN } from "../format"
import { Age } from "../parts/Freshness"

const OVER_S = 5

/** Messages a second, over the last few. */
function useRate(received: () => number): string {
  const [rate, setRate] = useState(UNKNOWN)
  const points = useRef<{ atMs: number; received: number }[]>([])
  useEffect(
    () =>
      onTick(() => {
        const now = { atMs: performance.now(), received: received() }
        points.current = [...points.current.slice(-OVER_S), now]
        const first = points.current[0]
        const passedS = first === undefined ? 0 : (now.atMs - first.atMs) / 1000
        if (first !== undefined && passedS > 0.5) setRate(((now.received - first.received) / passedS).toFixed(1))
      }),
    [received],
  )
  return rate
}

export function Stream() {
  const status = useWebSocket()
  const { client } = status
  const [received] = useState(() => () => client.status.received)
  const rate = useRate(received)
  const facts: [string, React.ReactNode, boolean?][] = [
    ["position", status.epoch ? `${status.epoch}.${status.seq ?? 0}` : UNKNOWN],
    ["messages/s", rate],
    ["received", count(status.received)],
    ["superseded", count(status.superseded)],
    ["lost", count(status.lost), status.lost > 0],
    ["reconnects", count(status.reconnects)],
    ["last message", <Age key="age" since={status.lastMessageAt} />],
  ]
  return (
    <footer className="stream">
      <dl>
        {facts.map(([name, value, isBad]) => (
          <div key={name} className={isBad ? "bad-text" : ""} data-fact={name}>
            <dt>{name}</dt>
            <dd className="number">{value}</dd>
          </div>
        ))}
      </dl>
    </footer>
  )
}
