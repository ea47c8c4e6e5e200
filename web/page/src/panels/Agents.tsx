/** The engine's agents: what each does, and how it has done so far. */
import type { Agent } from "engine-events-client"
import { useAgents } from "engine-events-react"

import { count, UNKNOWN } from "../format"
import { Meter } from "../parts/Meter"
import { Nothing, Panel } from "../parts/Panel"
import { plain } from "../words"

const CONDITIONS: Record<string, string> = { idle: "good", busy: "busy", error: "bad", offline: "off" }

export function Agents() {
  const view = useAgents()
  const status = view.data
  const agents = Object.values(status?.agents ?? {}).sort((a, b) => a.id.localeCompare(b.id))
  return (
    <Panel
      title="Agents"
      name="agents"
      topic={view}
      about={status && `${status.active_agents} busy, ${status.idle_agents} idle, ${status.error_agents} in error`}
    >
      {status && agents.length === 0 && <Nothing>The engine has no agents.</Nothing>}
      <div className="scroll" tabIndex={0} role="region" aria-label="Table of agents">
        {agents.length > 0 && (
          <table>
            <thead>
              <tr>
                <th scope="col">Agent</th>
                <th scope="col">Status</th>
                <th scope="col" className="end">
                  Tasks
                </th>
                <th scope="col" className="end">
                  Success
                </th>
                <th scope="col" className="end wide">
                  Mean time
                </th>
                <th scope="col" className="end wide">
                  Memory
                </th>
              </tr>
            </thead>
            <tbody>
              {agents.map((agent) => (
                <Row key={agent.id} agent={agent} />
              ))}
            </tbody>
          </table>
        )}
      </div>
    </Panel>
  )
}

function Row({ agent }: { agent: Agent }) {
  return (
    <tr>
      <th scope="row">
        <span className="clip">{agent.codename || agent.id}</span>
        <small className="clip">{[agent.tier, agent.specialization].filter(Boolean).join(" · ")}</small>
      </th>
      <td>
        <span className={`badge ${CONDITIONS[agent.status] ?? "off"}`}>{agent.status}</span>
        {agent.current_task_id != null && (
          <small className="task">
            <span className="clip">{plain(agent.task_type)}</span>
            {agent.task_progress != null && <Meter value={agent.task_progress} label="task's progress" tone="busy" />}
          </small>
        )}
      </td>
      <td className="number end">{count(agent.tasks_completed)}</td>
      <td className="number end">
        {agent.success_rate == null ? UNKNOWN : `${Math.round(agent.success_rate * 100)} %`}
      </td>
      <td className="number end wide">{agent.average_latency == null ? UNKNOWN : latency(agent.average_latency)}</td>
      <td className="number end wide">
        {agent.memory_usage == null ? UNKNOWN : `${agent.memory_usage.toFixed(1)} MB`}
      </td>
    </tr>
  )
}

function latency(ms: number): string {
  return ms < 1000 ? `${ms.toFixed(ms < 10 ? 1 : 0)} ms` : `${(ms / 1000).toFixed(1)} s`
}
