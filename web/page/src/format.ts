/** Figures for people: units, fixed widths, nothing that jumps. Never decides what is worth showing. */

export const UNKNOWN = "–"

const SIZES = ["B", "KiB", "MiB", "GiB", "TiB", "PiB"]

/** 1536 → "1.50 KiB": always three digits that count. */
export function bytes(count: number | null | undefined): string {
  if (count == null) return UNKNOWN
  let size = count
  let unit = 0
  while (size >= 999.5 && unit < SIZES.length - 1) {
    size /= 1024
    unit += 1
  }
  return `${threeDigits(size, unit === 0)} ${SIZES[unit] ?? ""}`
}

/** 3.14159 → "3.1 %". */
export function percent(share: number | null | undefined, digits = 1): string {
  return share == null ? UNKNOWN : `${share.toFixed(digits)} %`
}

/** Two units at most: 93784 s → "1 d 2 h", 75 s → "1 min 15 s", 9.4 s → "9 s". */
export function duration(seconds: number | null | undefined): string {
  if (seconds == null) return UNKNOWN
  const s = Math.max(0, Math.floor(seconds))
  if (s < 60) return `${s} s`
  if (s < 3600) return `${Math.floor(s / 60)} min ${s % 60} s`
  if (s < 86_400) return `${Math.floor(s / 3600)} h ${Math.floor((s % 3600) / 60)} min`
  return `${Math.floor(s / 86_400)} d ${Math.floor((s % 86_400) / 3600)} h`
}

/** The time of day here, 24 hours: "15:04:05". */
export function clock(when: Date | undefined): string {
  if (when === undefined || Number.isNaN(when.getTime())) return UNKNOWN
  return [when.getHours(), when.getMinutes(), when.getSeconds()].map((part) => String(part).padStart(2, "0")).join(":")
}

/** 1234567 → "1,234,567", whatever the browser's language: the page is in English. */
export function count(number: number | null | undefined): string {
  return number == null ? UNKNOWN : number.toLocaleString("en")
}

function threeDigits(size: number, whole: boolean): string {
  if (whole) return size.toFixed(0)
  return size.toFixed(size < 9.995 ? 2 : size < 99.95 ? 1 : 0)
}
