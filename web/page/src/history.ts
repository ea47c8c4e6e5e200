/** What a chart draws: the samples of the last minutes, and when there were none. Never bridges a silence.
 *
 * Time is an argument. Bounded by time and by count, so it may be fed for ever.
 */

export interface Band {
  from: number
  /** undefined: still so */
  to: number | undefined
}

const NEAR_SAMPLES = 9
const SILENT_TIMES = 3
const SILENT_AT_LEAST_S = 3
const SHORTEST_S = 60

export class History {
  private readonly spanS: number
  /** Goes up with every change: whoever draws remembers what it has drawn. */
  version = 0
  private readonly maxSamples: number
  private times: number[] = []
  private columns: (number | null)[][]
  private stale: Band[] = []
  private readonly listeners = new Set<() => void>()

  constructor({ columns, spanS, maxSamples }: { columns: number; spanS: number; maxSamples: number }) {
    this.spanS = spanS
    this.maxSamples = maxSamples
    this.columns = Array.from({ length: columns }, () => [])
  }

  /** A fresh sample. Ends a silence, and leaves a gap behind it where one was. */
  add(atS: number, values: readonly (number | null)[]): void {
    const last = this.times.at(-1)
    if (last !== undefined && atS <= last) return // two within one tick of the clock: a line cannot show both
    const open = this.openBand()
    if (open !== undefined) {
      open.to = atS
      this.append((open.from + atS) / 2, null)
    } else if (last !== undefined && atS - last > this.silenceS()) {
      this.append((last + atS) / 2, null)
    }
    this.append(atS, values)
    this.changed(atS)
  }

  /** From here on nothing is known. Counted from the last sample, for that is how long it is known to hold. */
  silence(atS: number): void {
    if (this.openBand() !== undefined) return
    this.stale.push({ from: this.times.at(-1) ?? atS, to: undefined })
    this.changed(atS)
  }

  /** Times, then one array for each column; null is a gap. Not to be changed. */
  data(): [number[], ...(number | null)[][]] {
    return [this.times, ...this.columns]
  }

  /** When it was stale. */
  bands(): readonly Band[] {
    return this.stale
  }

  /** What to show: from the first sample on, at least the last minute, at most the whole span. Seconds. */
  windowS(nowS: number): number {
    return Math.min(this.spanS, Math.max(SHORTEST_S, nowS - (this.times[0] ?? nowS)))
  }

  /** Calls back after every change; gives what ends that. */
  onChange(listener: () => void): () => void {
    this.listeners.add(listener)
    return () => this.listeners.delete(listener)
  }

  /** The lowest, highest and last value of a column; undefined: there is none. */
  summary(column: number): { low: number; high: number; last: number } | undefined {
    const values = (this.columns[column] ?? []).filter((value) => value !== null)
    const last = values.at(-1)
    if (last === undefined) return undefined
    return { low: Math.min(...values), high: Math.max(...values), last }
  }

  private openBand(): Band | undefined {
    const last = this.stale.at(-1)
    return last !== undefined && last.to === undefined ? last : undefined
  }

  /** A pause longer than this is no pause between two samples. */
  private silenceS(): number {
    const deltas: number[] = []
    for (let index = Math.max(1, this.times.length - NEAR_SAMPLES); index < this.times.length; index += 1) {
      deltas.push((this.times[index] ?? 0) - (this.times[index - 1] ?? 0))
    }
    if (deltas.length < 3) return Infinity // not known yet how often samples come
    deltas.sort((a, b) => a - b)
    return Math.max(SILENT_AT_LEAST_S, SILENT_TIMES * (deltas[deltas.length >> 1] ?? 0))
  }

  private append(atS: number, values: readonly (number | null)[] | null): void {
    this.times.push(atS)
    this.columns.forEach((column, index) => column.push(values?.[index] ?? null))
  }

  private changed(nowS: number): void {
    this.trim(nowS)
    this.version += 1
    for (const listener of this.listeners) listener()
  }

  private trim(nowS: number): void {
    const since = nowS - this.spanS
    let gone = Math.max(0, this.times.length - this.maxSamples)
    // one sample before the window stays, so that the line comes in from its edge
    while (gone + 1 < this.times.length && (this.times[gone + 1] ?? since) < since) gone += 1
    if (gone > 0) {
      this.times.splice(0, gone)
      for (const column of this.columns) column.splice(0, gone)
    }
    this.stale = this.stale.filter((band) => band.to === undefined || band.to >= since)
  }
}
