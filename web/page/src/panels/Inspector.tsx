/** Every message as it comes: filter, pause, look into one, copy it. Renders at most a few times a second, and only the
 * rows that can be seen, however many come.
 */
import type { Message } from "engine-events-client"
import { useMessages } from "engine-events-react"
import { useCallback, useEffect, useMemo, useRef, useState, type KeyboardEvent } from "react"

import { clock, count } from "../format"
import { Detail } from "../parts/Detail"
import { Nothing, Panel } from "../parts/Panel"
import { matcher, Tape, type Entry } from "../tape"

const KEPT = 500
const ROW_PX = 28
const SPARE_ROWS = 4
const RENDER_EVERY_MS = 250
const EVERYTHING = ["*"]
const DULL = ["stale", "timestamp", "server_time"]

/** What was there when somebody wanted it to stand still. */
interface Held {
  entries: readonly Entry[]
  at: number
}

/** The tape, and how many messages it had when it was last worth a render. */
function useTape(): [Tape, number] {
  const [tape] = useState(() => new Tape(KEPT))
  const [seen, setSeen] = useState(0)
  const timer = useRef<ReturnType<typeof setTimeout>>(undefined)
  useMessages(
    EVERYTHING,
    useCallback(
      (message: Message) => {
        tape.add(message, new Date())
        timer.current ??= setTimeout(() => {
          timer.current = undefined
          setSeen(tape.count)
        }, RENDER_EVERY_MS)
      },
      [tape],
    ),
  )
  useEffect(() => () => clearTimeout(timer.current), [])
  return [tape, seen]
}

export function Inspector() {
  const [tape, seen] = useTape()
  const [patterns, setPatterns] = useState("")
  const [held, setHeld] = useState<Held>()
  const [chosen, setChosen] = useState<Entry>()
  const entries = useMemo(() => {
    const matches = matcher(patterns)
    if (held !== undefined) return held.entries.filter((entry) => matches(entry.message.type))
    return tape.matching(matches, seen)
  }, [tape, patterns, held, seen])
  // what is held is kept apart: the tape goes on, and would run over it
  const hold = useCallback(
    (on: boolean) =>
      setHeld((before) => (on ? (before ?? { entries: tape.matching(() => true), at: tape.count }) : undefined)),
    [tape],
  )
  const waiting = held === undefined ? 0 : seen - held.at

  return (
    <Panel title="Events" name="inspector" about={`${count(seen)} received, the last ${KEPT} kept`}>
      <div className="tools" role="search">
        <label>
          <span className="hidden">Show only these types</span>
          <input
            type="search"
            placeholder="Filter: agent.*, notification"
            spellCheck={false}
            autoCapitalize="off"
            value={patterns}
            onChange={(event) => setPatterns(event.target.value)}
          />
        </label>
        <button type="button" aria-pressed={held !== undefined} onClick={() => hold(held === undefined)}>
          {held === undefined ? "Pause" : "Go on"}
        </button>
        <span className="small number">
          {held === undefined ? "" : `${count(Math.max(0, waiting))} since the pause`}
        </span>
      </div>
      <div className="split">
        <div className="list">
          <Rows entries={entries} chosen={chosen} onChoose={setChosen} onHold={hold} />
          {entries.length === 0 && <Nothing>Nothing that matches has come yet.</Nothing>}
        </div>
        <Detail entry={chosen} />
      </div>
    </Panel>
  )
}

function Rows({
  entries,
  chosen,
  onChoose,
  onHold,
}: {
  entries: readonly Entry[]
  chosen: Entry | undefined
  onChoose: (entry: Entry) => void
  onHold: (held: boolean) => void
}) {
  const list = useRef<HTMLDivElement>(null)
  const [view, setView] = useState({ top: 0, height: 400 })
  useEffect(() => {
    const node = list.current
    if (node === null) return
    const sized = new ResizeObserver(() => setView({ top: node.scrollTop, height: node.clientHeight }))
    sized.observe(node)
    return () => sized.disconnect()
  }, [])

  function scrolled(): void {
    const node = list.current
    if (node === null) return
    setView({ top: node.scrollTop, height: node.clientHeight })
    if (node.scrollTop > ROW_PX) onHold(true) // who reads further down would have it pushed away
  }
  function pressed(event: KeyboardEvent): void {
    const step = { ArrowDown: 1, ArrowUp: -1 }[event.key]
    if (step === undefined || entries.length === 0) return
    event.preventDefault()
    onHold(true)
    const at = entries.findIndex((entry) => entry.n === chosen?.n)
    const next = Math.min(entries.length - 1, Math.max(0, at < 0 ? 0 : at + step))
    const entry = entries[next]
    if (entry !== undefined) onChoose(entry)
    const node = list.current
    if (node === null) return
    if (next * ROW_PX < node.scrollTop) node.scrollTop = next * ROW_PX
    if ((next + 1) * ROW_PX > node.scrollTop + node.clientHeight)
      node.scrollTop = (next + 1) * ROW_PX - node.clientHeight
  }

  const first = Math.max(0, Math.floor(view.top / ROW_PX) - SPARE_ROWS)
  const shown = entries.slice(first, Math.ceil((view.top + view.height) / ROW_PX) + SPARE_ROWS)
  const isShown = shown.some((entry) => entry.n === chosen?.n)
  return (
    <div
      ref={list}
      className="rows scroll"
      role="listbox"
      tabIndex={0}
      aria-label="Events, newest first"
      aria-activedescendant={isShown && chosen ? `event-${chosen.n}` : undefined}
      onScroll={scrolled}
      onKeyDown={pressed}
    >
      <div className="all" role="presentation" style={{ height: entries.length * ROW_PX }}>
        {shown.map((entry, index) => (
          <div
            key={entry.n}
            id={`event-${entry.n}`}
            role="option"
            aria-selected={entry.n === chosen?.n}
            aria-setsize={entries.length}
            aria-posinset={first + index + 1}
            className="row"
            style={{ transform: `translateY(${(first + index) * ROW_PX}px)` }}
            onClick={() => onChoose(entry)}
          >
            <span className="number">{clock(entry.receivedAt)}</span>
            <span className="number end">{entry.message.seq ?? ""}</span>
            <span className={`type ${isBad(entry.message) ? "bad-text" : ""}`}>{entry.message.type}</span>
            <span className="clip gist">{gist(entry.message)}</span>
          </div>
        ))}
      </div>
    </div>
  )
}

function isBad({ type, data }: Message): boolean {
  return type === "rpc_error" || type === "connection_error" || (data as { stale?: boolean } | null)?.stale === true
}

/** The first few values, so that one need not look into every event. */
function gist({ data, snapshot }: Message): string {
  const fields = (data ?? {}) as Record<string, unknown>
  const parts = [...(fields["stale"] === true ? ["stale"] : []), ...(snapshot === true ? ["snapshot"] : [])]
  for (const [key, value] of Object.entries(fields)) {
    if (value === null || DULL.includes(key)) continue
    if (typeof value === "object") parts.push(`${key} ${Array.isArray(value) ? `[${value.length}]` : "{…}"}`)
    else parts.push(`${key} ${short(value as string | number | boolean)}`)
    if (parts.length > 5) break
  }
  return parts.join("  ")
}

function short(value: string | number | boolean): string {
  if (typeof value === "number") return Number.isInteger(value) ? String(value) : value.toPrecision(4)
  return String(value).slice(0, 80)
}
