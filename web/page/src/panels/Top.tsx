/** The head of the page: whose data it is, whether it is live, and the choice of light or dark. */
import { useAgents, useCompression, useStorage, useSystem, useWebSocket } from "engine-events-react"
import { useEffect } from "react"

import { useNow } from "../clock"
import { duration } from "../format"
import { conditionOf } from "../parts/Freshness"
import { useTheme } from "../theme"
import { Path } from "./Path"

const CLOSED_FOR_GOOD = "closed"

export function Top() {
  const conditions = [
    useSystem(conditionOf),
    useStorage(conditionOf),
    useAgents(conditionOf),
    useCompression(conditionOf),
  ]
  const stale = conditions.filter((condition) => condition === "stale").length
  const waiting = conditions.includes("waiting")
  const { state, retryAt } = useWebSocket(({ state, retryAt }) => ({ state, retryAt }))
  const host = useSystem((view) => view.data?.hostname)
  const [theme, nextTheme] = useTheme()
  const [mood, words] = summary(state, stale, waiting)
  useEffect(() => {
    document.title = `${mood === "good" ? "" : "⚠ "}${host ?? "Engine"} · ${words}`
  }, [mood, words, host])
  useEffect(() => {
    // what `make page-figures` measures: all that was asked for is on the screen
    if (!waiting) requestAnimationFrame(() => performance.mark("first-data"))
  }, [waiting])
  return (
    <header className="top">
      <h1 className="clip">{host ?? "Engine events"}</h1>
      <div className={`live ${mood}`} data-live={state} data-stale={stale}>
        <span className="dot" aria-hidden="true" />
        <span role="status">{words}</span>
        {state === "waiting" && retryAt !== undefined && <Retry at={retryAt} />}
      </div>
      <Path />
      <button type="button" className="theme" onClick={nextTheme} aria-label={`Colours: ${theme}. Change.`}>
        <span aria-hidden="true">{{ system: "◐", light: "☀", dark: "☾" }[theme]}</span>
        <span className="theme-name">{theme}</span>
      </button>
    </header>
  )
}

function summary(state: string, stale: number, waiting: boolean): [string, string] {
  if (state === "connecting") return ["warning", "connecting"]
  if (state === "waiting") return ["bad", "not connected"]
  if (state === CLOSED_FOR_GOOD) return ["bad", "closed"]
  if (stale > 0) return ["warning", `${stale} of 4 stale`]
  return waiting ? ["warning", "waiting for data"] : ["good", "live"]
}

function Retry({ at }: { at: Date }) {
  const left = Math.ceil((at.getTime() - useNow()) / 1000)
  return <span className="number retry">{left > 0 ? `again in ${duration(left)}` : "trying"}</span>
}
