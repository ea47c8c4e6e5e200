/** A line over the last minutes, drawn by uPlot outside of React's renders: at most once a frame, and when a second has
 * passed. Where nothing was known there is a hatched gap, never a line.
 */
import { useEffect, useRef } from "react"
import uPlot from "uplot"
import "uplot/dist/uPlot.min.css"

import { onTick } from "../clock"
import { clock } from "../format"
import type { History } from "../history"
import { onTheme } from "../theme"

export interface Line {
  column: number
  name: string
  /** A custom property of the style sheet that holds its colour. */
  tone: "line-1" | "line-2" | "line-3"
  fill?: boolean
}

interface Props {
  history: History
  lines: readonly Line[]
  label: string
  format: (value: number) => string
  /** The top of the scale; none: as high as it must be, and at least `atLeast`. */
  top?: number
  atLeast?: number
}

export function Chart({ history, lines, label, format, top, atLeast }: Props) {
  const place = useRef<HTMLDivElement>(null)
  const readout = useRef<HTMLParagraphElement>(null)

  useEffect(() => {
    const node = place.current
    if (node === null) return
    let plot = build()
    let frame = 0
    let drawn = -1

    function build(): uPlot {
      return draw(node as HTMLDivElement, history, lines, format, top, atLeast, (text) => {
        if (readout.current !== null) readout.current.textContent = text
      })
    }
    function redraw(): void {
      frame = 0
      drawn = history.version
      const now = Date.now() / 1000
      plot.batch(() => {
        const [times, ...columns] = history.data()
        plot.setData([times, ...lines.map((line) => columns[line.column] ?? [])] as uPlot.AlignedData, false)
        plot.setScale("x", { min: now - history.windowS(now), max: now })
      })
    }
    function schedule(): void {
      if (frame === 0) frame = requestAnimationFrame(redraw)
    }
    function describe(): void {
      const parts = lines.map((line) => {
        const summary = history.summary(line.column)
        return summary === undefined
          ? `${line.name}: nothing yet`
          : `${line.name}: now ${format(summary.last)}, between ${format(summary.low)} and ${format(summary.high)}`
      })
      node?.setAttribute(
        "aria-label",
        `${label}, last ${Math.round(history.windowS(Date.now() / 1000) / 60)} min. ${parts.join("; ")}`,
      )
    }
    const sized = new ResizeObserver(() => {
      plot.setSize({ width: node.clientWidth, height: node.clientHeight })
    })
    sized.observe(node)
    const endTheme = onTheme(() => {
      plot.destroy()
      plot = build()
      schedule()
    })
    let ticks = 0
    const endTick = onTick(() => {
      schedule()
      if (ticks % 5 === 0) describe()
      ticks += 1
    })
    const endHistory = history.onChange(() => {
      if (history.version !== drawn) schedule()
    })
    return () => {
      cancelAnimationFrame(frame)
      sized.disconnect()
      endTheme()
      endTick()
      endHistory()
      plot.destroy()
    }
  }, [history, lines, label, format, top, atLeast])

  return (
    <div className="chart">
      <div ref={place} className="plot" role="img" aria-label={label} />
      <p ref={readout} className="readout number" aria-hidden="true" />
    </div>
  )
}

function draw(
  node: HTMLDivElement,
  history: History,
  lines: readonly Line[],
  format: (value: number) => string,
  top: number | undefined,
  atLeast: number | undefined,
  say: (text: string) => void,
): uPlot {
  const style = getComputedStyle(node)
  const grid = style.borderTopColor
  const ink = style.color
  const colours = lines.map((line) => colourOf(node, line.tone))
  const axis = {
    stroke: ink,
    grid: { stroke: grid, width: 1 },
    ticks: { show: false },
    font: `11px ${style.fontFamily}`,
  }
  const now = Date.now() / 1000
  return new uPlot(
    {
      width: Math.max(1, node.clientWidth),
      height: Math.max(1, node.clientHeight),
      padding: [8, 26, 0, 0],
      legend: { show: false },
      cursor: { y: false, drag: { x: false, y: false }, points: { size: 6 } },
      scales: {
        x: { time: true, range: (_plot, min, max) => [min, max] },
        y: { range: (_plot, _min, max) => [0, top ?? Math.max(atLeast ?? 0, Number.isFinite(max) ? max * 1.15 : 0)] },
      },
      axes: [
        {
          ...axis,
          size: 22,
          space: 70,
          values: (_plot, splits, _axis, _space, step) => splits.map((at) => timeOfDay(at, step)),
        },
        { ...axis, size: 38, space: 34, values: (_plot, splits) => splits.map(format) },
      ],
      series: [
        {},
        ...lines.map((line, index) => ({
          label: line.name,
          stroke: colours[index] ?? ink,
          width: 1.6,
          spanGaps: false,
          points: { show: false },
          ...(line.fill ? { fill: translucent(colours[index] ?? ink, 0.14) } : {}),
        })),
      ],
      hooks: {
        drawClear: [(plot) => hatch(plot, history, translucent(ink, 0.35))],
        setCursor: [
          (plot) => {
            const index = plot.cursor.idx
            const at = index == null ? undefined : plot.data[0][index]
            if (index == null || at === undefined || (plot.cursor.left ?? -1) < 0) {
              say("")
              return
            }
            const values = lines.map((_line, column) => plot.data[column + 1]?.[index])
            const text = values.map((value) => (value == null ? "not known" : format(value))).join(" · ")
            say(`${clock(new Date(at * 1000))}  ${text}`)
          },
        ],
      },
    },
    [[now], ...lines.map(() => [null])] as uPlot.AlignedData,
    node,
  )
}

/** Silences, as a hatched area: neither a value nor nothing. */
function hatch(plot: uPlot, history: History, colour: string): void {
  const { ctx, bbox } = plot
  const step = 7 * devicePixelRatio
  for (const band of history.bands()) {
    const left = Math.max(bbox.left, plot.valToPos(band.from, "x", true))
    const right = Math.min(bbox.left + bbox.width, plot.valToPos(band.to ?? Date.now() / 1000, "x", true))
    if (right <= left) continue
    ctx.save()
    ctx.beginPath()
    ctx.rect(left, bbox.top, right - left, bbox.height)
    ctx.clip()
    ctx.strokeStyle = colour
    ctx.lineWidth = devicePixelRatio
    ctx.beginPath()
    for (let x = left - bbox.height - ((left - bbox.height) % step); x < right; x += step) {
      ctx.moveTo(x, bbox.top + bbox.height)
      ctx.lineTo(x + bbox.height, bbox.top)
    }
    ctx.stroke()
    ctx.restore()
  }
}

function timeOfDay(atS: number, stepS: number): string {
  const text = clock(new Date(atS * 1000))
  return stepS < 60 ? text : text.slice(0, 5)
}

/** Resolves a custom property to a colour that a canvas takes: a probe element has it computed. */
function colourOf(node: HTMLElement, tone: string): string {
  const probe = document.createElement("span")
  probe.className = `tone ${tone}`
  node.append(probe)
  const colour = getComputedStyle(probe).color
  probe.remove()
  return colour
}

/** The same colour, thinner. */
function translucent(rgb: string, alpha: number): string {
  const channels = rgb.match(/[\d.]+/g)?.slice(0, 3) ?? ["128", "128", "128"]
  return `rgba(${channels.join(", ")}, ${alpha})`
}
