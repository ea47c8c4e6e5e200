/** Each topic: is it fresh, for how long, and where does its circuit breaker stand. */
import { useAgents, useCompression, useMessages, useStorage, useSystem, type View } from "engine-events-react"
import { useCallback, useState } from "react"

import { breakerOf, fold, type Told } from "../breakers"
import { useNow } from "../clock"
import { duration } from "../format"
import { conditionOf, FreshnessChip } from "../parts/Freshness"
import { nameOf } from "../words"

const BREAKERS = ["circuit_breaker.*"]

export function Sources() {
  const [told, setTold] = useState<ReadonlyMap<string, Told>>(new Map())
  useMessages(
    BREAKERS,
    useCallback((message) => setTold((before) => fold(before, message, Date.now())), []),
  )
  const views: [string, View<unknown>][] = [
    ["system.status", useSystem()],
    ["storage.update", useStorage()],
    ["agent.status", useAgents()],
    ["compression.update", useCompression()],
  ]
  return (
    <section className="sources" aria-labelledby="sources-title">
      <h2 id="sources-title" className="hidden">
        Topics and their circuit breakers
      </h2>
      <ul>
        {views.map(([topic, view]) => (
          <Source key={topic} topic={topic} view={view} breaker={breakerOf(told.get(topic), view)} />
        ))}
      </ul>
    </section>
  )
}

function Source({ topic, view, breaker }: { topic: string; view: View<unknown>; breaker: Told }) {
  return (
    <li data-topic={topic} data-condition={conditionOf(view)}>
      <div className="line">
        <strong>{nameOf(topic)}</strong>
        <FreshnessChip topic={view} />
      </div>
      <div className="line small">
        <code className="clip">{topic}</code>
        <span className={`breaker end ${breaker.state.replace(" ", "-")}`} data-breaker={breaker.state}>
          breaker {breaker.state}
          {breaker.state === "open" && breaker.retryAtMs !== undefined && <Trial atMs={breaker.retryAtMs} />}
        </span>
      </div>
    </li>
  )
}

function Trial({ atMs }: { atMs: number }) {
  const left = Math.ceil((atMs - useNow()) / 1000)
  return left > 0 ? <span className="number"> · tried in {duration(left)}</span> : null
}
