/** Whether something is fresh, for how long, and why not: in words, never by colour alone. */
import { memo } from "react"

import { useNow } from "../clock"
import { clock, duration } from "../format"
import { why } from "../words"

export interface Fresh {
  data: unknown
  stale: boolean
  lastUpdate: Date | undefined
  errorCode: string | undefined
}

export type Condition = "waiting" | "fresh" | "stale"

export function conditionOf({ data, stale }: Pick<Fresh, "data" | "stale">): Condition {
  if (data === undefined) return "waiting"
  return stale ? "stale" : "fresh"
}

/** Seconds since a moment, counting. */
export const Age = memo(function Age({ since }: { since: Date | undefined }) {
  const now = useNow()
  return <span className="number">{since === undefined ? "" : duration((now - since.getTime()) / 1000)}</span>
})

/** "fresh · 2 s", "stale · 1 min 4 s", "no data yet". */
export function FreshnessChip({ topic }: { topic: Fresh }) {
  const condition = conditionOf(topic)
  return (
    // another element for another condition: it comes in its place, and none is seen to move
    <span key={condition} className={`chip ${condition}`} data-condition={condition}>
      <span className="dot" aria-hidden="true" />
      <span className="word">{condition === "waiting" ? "no data yet" : condition}</span>
      {topic.lastUpdate !== undefined && (
        <span className="age">
          <Age since={topic.lastUpdate} />
        </span>
      )}
    </span>
  )
}

/** What a stale panel says beside its title: since when, and why. It stands where something stood before, so nothing moves. */
export function StaleNotice({ topic }: { topic: Fresh }) {
  return (
    <p className="stale-notice">
      <strong>stale since {clock(topic.lastUpdate)}</strong> · {why(topic.errorCode)}
    </p>
  )
}
