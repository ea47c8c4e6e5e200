/** Each topic: is it fresh, for how long, and where does its circuit breaker stand. */
import type { Heartbeat } from "engine-events-client"
import { useAgents, useCompression, useMessages, useStorage, useSystem, type View } from "engine-events-react"
import { useCallback, useState } from "react"

import { breakerOf, fold, type Told } from "../breakers"
import { useNow } from "../clock"
import { duration } from "../format"
import { Age, conditionOf, FreshnessChip } from "../parts/Freshness"
import { nameOf } from "../words"

const BREAKERS = ["circuit_breaker.*"]
const HEARTBEAT = ["heartbeat"]
const OURS = ["system.status", "storage.update", "agent.status", "compression.update"]
const OTHERS_SHOWN = 6

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
      <Others />
    </section>
  )
}

/** The engine's own topics, as the last heartbeat knew them. */
function Others() {
  const [known, setKnown] = useState<[string, Date | undefined][]>()
  useMessages(
    HEARTBEAT,
    useCallback((message) => {
      const ages = Object.entries((message.data as Heartbeat).freshness)
      setKnown(
        ages
          .filter(([topic]) => !OURS.includes(topic))
          .sort()
          .map(([topic, ageS]) => [topic, ageS === null ? undefined : new Date(Date.now() - ageS * 1000)]),
      )
    }, []),
  )
  return (
    <p className="others small clip">
      {known === undefined && "Other topics: with the next heartbeat"}
      {known?.length === 0 && "No other topics"}
      {known && known.length > 0 && "Other topics, known to be fresh so long ago: "}
      {known?.slice(0, OTHERS_SHOWN).map(([topic, since]) => (
        <span key={topic}>
          <code>{topic}</code> {since ? <Age since={since} /> : "never"}
        </span>
      ))}
      {known && known.length > OTHERS_SHOWN && `and ${known.length - OTHERS_SHOWN} more`}
    </p>
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
