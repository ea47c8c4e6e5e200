/** Compression jobs: progress, rate and time left. Shows them; submitting and cancelling are not its job. */
import type { CompressionJob, Topic } from "engine-events-client"
import { useCompression } from "engine-events-react"
import { memo } from "react"

import { bytes, duration, UNKNOWN } from "../format"
import { Meter } from "../parts/Meter"
import { Nothing, Panel } from "../parts/Panel"
import { plain, why } from "../words"

const SHOWN = 50
const ORDER = ["running", "pending", "failed", "completed", "cancelled"]
const CONDITIONS: Record<string, string> = {
  running: "busy",
  pending: "off",
  completed: "good",
  failed: "bad",
  cancelled: "off",
}

interface Known {
  job: CompressionJob
  /** Why it may be old; undefined: it is not. */
  staleBecause: string | undefined
}

export function Compression() {
  const view = useCompression()
  const jobs = sorted(view.jobs)
  const queue = view.data
  return (
    <Panel
      title="Compression"
      name="compression"
      topic={view}
      about={queue && `${queue.total_running} running, ${queue.total_pending} waiting, ${queue.total_jobs} listed`}
    >
      {queue && jobs.length === 0 && <Nothing>No compression jobs.</Nothing>}
      {jobs.length > 0 && (
        <ul className="jobs scroll" tabIndex={0} aria-label="Compression jobs">
          {jobs.slice(0, SHOWN).map((known) => (
            <Job key={known.job.job_id} {...known} queueStale={view.stale} />
          ))}
        </ul>
      )}
    </Panel>
  )
}

const Job = memo(function Job({ job, staleBecause, queueStale }: Known & { queueStale: boolean }) {
  const lonely = staleBecause !== undefined && !queueStale // else the panel says it for all of them
  return (
    <li className={lonely ? "stale" : ""}>
      <div className="line">
        <strong className="clip">{job.input_path || job.job_id}</strong>
        <span className={`badge ${CONDITIONS[job.status] ?? "off"}`}>{job.status}</span>
        <span className="number end">{job.progress == null ? UNKNOWN : `${Math.round(job.progress)} %`}</span>
      </div>
      <Meter
        value={job.progress}
        label={`${job.input_path || job.job_id}, progress`}
        tone={CONDITIONS[job.status] ?? ""}
      />
      <div className="line small">
        <span className="clip">
          {lonely
            ? `stale: ${staleBecause}`
            : job.error || [plain(job.job_type), job.priority, ratio(job)].filter(Boolean).join(" · ")}
        </span>
        <span className="number end">{pace(job)}</span>
      </div>
    </li>
  )
})

function ratio(job: CompressionJob): string {
  return job.compression_ratio == null ? "" : `ratio ${job.compression_ratio.toFixed(2)}`
}

/** How fast, and how long still (or how long it took). */
function pace(job: CompressionJob): string {
  const { bytes_processed, elapsed_seconds, eta_seconds, status } = job
  const rate = bytes_processed != null && elapsed_seconds ? `${bytes(bytes_processed / elapsed_seconds)}/s` : ""
  if (status === "running") {
    const left = eta_seconds == null ? "time left not known" : `${duration(Math.ceil(eta_seconds))} left`
    return [rate, left].filter(Boolean).join(" · ")
  }
  if (status === "pending") return bytes(job.bytes_total)
  return [rate, elapsed_seconds == null ? "" : `took ${duration(elapsed_seconds)}`].filter(Boolean).join(" · ")
}

function sorted(jobs: ReadonlyMap<string, Topic<CompressionJob>>): Known[] {
  const known: Known[] = []
  for (const { data, stale, errorCode } of jobs.values()) {
    if (data !== undefined) known.push({ job: data, staleBecause: stale ? why(errorCode) : undefined })
  }
  return known.sort(
    (a, b) =>
      ORDER.indexOf(a.job.status) - ORDER.indexOf(b.job.status) || (b.job.timestamp ?? 0) - (a.job.timestamp ?? 0),
  )
}
