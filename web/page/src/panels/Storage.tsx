/** Every storage pool as a bar, with its condition in words. */
import type { StoragePool } from "engine-events-client"
import { useStorage } from "engine-events-react"

import { bytes, percent } from "../format"
import { Meter } from "../parts/Meter"
import { Nothing, Panel } from "../parts/Panel"

const CONDITIONS: Record<string, string> = {
  ONLINE: "good",
  DEGRADED: "warning",
  FAULTED: "bad",
  UNAVAIL: "bad",
  OFFLINE: "off",
}
const FULL_PCT = 95
const FILLING_PCT = 85

export function Storage() {
  const view = useStorage()
  const pools = view.data?.pools
  return (
    <Panel
      title="Storage"
      name="storage"
      topic={view}
      about={pools && `${pools.length} ${pools.length === 1 ? "pool" : "pools"}`}
    >
      {pools?.length === 0 && <Nothing>The engine has no storage pools.</Nothing>}
      {pools && pools.length > 0 && (
        <ul className="pools scroll" tabIndex={0} aria-label="Storage pools">
          {pools.map((pool) => (
            <Pool key={pool.name} pool={pool} />
          ))}
        </ul>
      )}
    </Panel>
  )
}

function Pool({ pool }: { pool: StoragePool }) {
  const errors = [
    [pool.read_errors, "read"],
    [pool.write_errors, "write"],
    [pool.checksum_errors, "checksum"],
  ].filter(([number]) => Boolean(number))
  return (
    <li>
      <div className="line">
        <strong className="clip">{pool.name}</strong>
        <span className={`badge ${CONDITIONS[pool.state] ?? "off"}`}>{pool.state}</span>
        <span className="number end">{percent(pool.capacity_pct, 0)}</span>
      </div>
      <Meter value={pool.capacity_pct} label={`${pool.name}, in use`} tone={fullness(pool.capacity_pct)} />
      <div className="line small">
        <span className="clip">{[pool.type, pool.device].filter(Boolean).join(" · ")}</span>
        {errors.length > 0 && (
          <span className="bad-text">
            {errors.map(([number, kind]) => `${String(number)} ${String(kind)} errors`).join(", ")}
          </span>
        )}
        <span className="number end">
          {bytes(pool.allocated)} used, {bytes(pool.free)} free
        </span>
      </div>
    </li>
  )
}

function fullness(capacity: number | null | undefined): string {
  if (capacity == null || capacity < FILLING_PCT) return ""
  return capacity < FULL_PCT ? "warning" : "bad"
}
