/** CPU, memory and load over the last minutes. */
import type { EventClient, SystemStatus } from "engine-events-client"
import { useClient, useSystem } from "engine-events-react"
import { useEffect, useState } from "react"

import { bytes, duration, percent, UNKNOWN } from "../format"
import { History } from "../history"
import { Chart, type Line } from "../parts/Chart"
import { Panel } from "../parts/Panel"

const SPAN_S = 300
const MAX_SAMPLES = 3000 // ten a second for the whole span
const CPU: readonly Line[] = [{ column: 0, name: "CPU", tone: "line-1", fill: true }]
const MEMORY: readonly Line[] = [{ column: 1, name: "memory", tone: "line-2", fill: true }]
const LOAD: readonly Line[] = [
  { column: 2, name: "1 min", tone: "line-1" },
  { column: 3, name: "5 min", tone: "line-2" },
  { column: 4, name: "15 min", tone: "line-3" },
]
const wholePercent = (value: number) => `${Math.round(value)} %`
const twoDigits = (value: number) => value.toFixed(value < 10 ? 2 : 1)

/** Follows the client's state directly: a sample costs no render. */
function record(client: EventClient, history: History): () => void {
  let seen: SystemStatus | undefined
  function take(): void {
    const { data, stale, lastUpdate } = client.topic("system.status")
    const now = Date.now() / 1000
    if (data === undefined) return
    if (stale) history.silence(now)
    if (stale || data === seen) return
    seen = data
    const [one, five, fifteen] = data.load_average
    // when it was said, not when it came: a page that was busy has what it missed drawn where it belongs
    history.add((lastUpdate?.getTime() ?? Date.now()) / 1000, [
      data.cpu_usage,
      data.memory_pct,
      one ?? null,
      five ?? null,
      fifteen ?? null,
    ])
  }
  take()
  return client.onTopic("system.status", take)
}

export function System() {
  const view = useSystem()
  const client = useClient()
  const [history] = useState(() => new History({ columns: 5, spanS: SPAN_S, maxSamples: MAX_SAMPLES }))
  useEffect(() => record(client, history), [client, history])
  const system = view.data
  return (
    <Panel title="System" name="system" topic={view} about={system?.platform}>
      <div className="charts">
        <figure>
          <figcaption>
            <span className="what">CPU</span>
            <span className="value number">{percent(system?.cpu_usage)}</span>
            {system && <span className="more number">up {duration(system.uptime)}</span>}
          </figcaption>
          <Chart history={history} lines={CPU} label="CPU" format={wholePercent} top={100} />
        </figure>
        <figure>
          <figcaption>
            <span className="what">Memory</span>
            <span className="value number">{percent(system?.memory_pct)}</span>
            {system && (
              <span className="more number">
                {bytes(system.memory_used)} of {bytes(system.memory_total)}
              </span>
            )}
          </figcaption>
          <Chart history={history} lines={MEMORY} label="Memory" format={wholePercent} top={100} />
        </figure>
        <figure>
          <figcaption>
            <span className="what">Load</span>
            <span className="value number">{load(system, 0)}</span>
            {system && (
              <span className="more number legend">
                {LOAD.map((line, index) => (
                  <span key={line.name}>
                    <i className={`tone ${line.tone}`} aria-hidden="true" />
                    {line.name} {load(system, index)}
                  </span>
                ))}
              </span>
            )}
          </figcaption>
          <Chart history={history} lines={LOAD} label="Load" format={twoDigits} atLeast={1} />
        </figure>
      </div>
    </Panel>
  )
}

function load(system: SystemStatus | undefined, index: number): string {
  const value = system?.load_average[index]
  return value == null ? UNKNOWN : twoDigits(value)
}
