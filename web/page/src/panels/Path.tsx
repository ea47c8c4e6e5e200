/** The way that data comes, link by link, and where it is broken. What lies behind a broken link cannot be known. */
import { useAgents, useCompression, useStorage, useSystem, useWebSocket, type View } from "engine-events-react"

export type Link = "ok" | "partly" | "away" | "unknown"

const WORDS: Record<Link, string> = { ok: "answers", partly: "answers in part", away: "away", unknown: "not known" }
const ENGINE_FAILS = ["RPC_DISCONNECT", "CIRCUIT_BREAKER_OPEN"]

type Seen = Pick<View<unknown>, "stale" | "errorCode"> & { known: boolean }

function seen({ data, stale, errorCode }: View<unknown>): Seen {
  return { known: data !== undefined, stale, errorCode }
}

/** The three links as this page can know them. */
export function linksOf(
  connection: string,
  bridgeConnected: boolean | undefined,
  topics: readonly Seen[],
): { gateway: Link; bridge: Link; engine: Link } {
  if (connection !== "open") {
    return { gateway: connection === "connecting" ? "unknown" : "away", bridge: "unknown", engine: "unknown" }
  }
  if (bridgeConnected === false || topics.some(({ errorCode }) => errorCode === "BRIDGE_DISCONNECT")) {
    return { gateway: "ok", bridge: "away", engine: "unknown" }
  }
  const known = topics.filter((topic) => topic.known)
  if (known.length === 0) return { gateway: "ok", bridge: bridgeConnected ? "ok" : "unknown", engine: "unknown" }
  const failing = known.filter(({ stale, errorCode }) => stale && ENGINE_FAILS.includes(errorCode ?? ""))
  if (failing.length === 0) return { gateway: "ok", bridge: "ok", engine: "ok" }
  return { gateway: "ok", bridge: "ok", engine: failing.length === known.length ? "away" : "partly" }
}

export function Path() {
  const { state, bridgeConnected } = useWebSocket(({ state, bridgeConnected }) => ({ state, bridgeConnected }))
  const topics = [useSystem(seen), useStorage(seen), useAgents(seen), useCompression(seen)]
  const links = linksOf(state, bridgeConnected, topics)
  const steps: [string, Link][] = [
    ["Engine", links.engine],
    ["Bridge", links.bridge],
    ["Gateway", links.gateway],
  ]
  return (
    <ol className="path" aria-label="The way that data comes">
      {steps.map(([name, link]) => (
        <li key={name} className={link} data-link={name.toLowerCase()} data-state={link}>
          <span className="dot" aria-hidden="true" />
          <span className="name">{name}</span>
          <span className="state">{WORDS[link]}</span>
        </li>
      ))}
    </ol>
  )
}
