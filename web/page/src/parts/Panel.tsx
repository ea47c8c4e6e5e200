/** A titled part of the page that looks stale when what it shows is. Owns no data. */
import { useId, type ReactNode } from "react"

import { conditionOf, FreshnessChip, StaleNotice, type Fresh } from "./Freshness"

export function Panel({
  title,
  name,
  about,
  topic,
  children,
}: {
  title: string
  /** Its place in the grid. */
  name: string
  /** What stands beside the title. */
  about?: ReactNode
  /** What it shows; without one it cannot be stale. */
  topic?: Fresh
  children: ReactNode
}) {
  const id = useId()
  const condition = topic && conditionOf(topic)
  return (
    <section className={`panel ${name}`} aria-labelledby={id} data-condition={condition}>
      <header>
        <h2 id={id}>{title}</h2>
        {topic && condition === "stale" ? <StaleNotice topic={topic} /> : <div className="about">{about}</div>}
        {topic && <FreshnessChip topic={topic} />}
      </header>
      <div className="body">{children}</div>
    </section>
  )
}

/** What a panel says when there is nothing to list. */
export function Nothing({ children }: { children: ReactNode }) {
  return <p className="nothing">{children}</p>
}
