/** Light or dark: the system's choice, until somebody chooses here. */
import { useSyncExternalStore } from "react"

export type Theme = "system" | "light" | "dark"

const KEY = "engine-events.theme"
const ORDER: readonly Theme[] = ["system", "light", "dark"]
const listeners = new Set<() => void>()
let theme: Theme = read()

function read(): Theme {
  try {
    const kept = localStorage.getItem(KEY)
    return ORDER.find((one) => one === kept) ?? "system"
  } catch {
    return "system" // storage is forbidden here: the choice lasts as long as the page
  }
}

/** Puts the kept choice on the document. Before the first render, so that nothing flashes. */
export function applyTheme(): void {
  if (theme === "system") delete document.documentElement.dataset.theme
  else document.documentElement.dataset.theme = theme
  for (const listener of listeners) listener()
}

function nextTheme(): void {
  theme = ORDER[(ORDER.indexOf(theme) + 1) % ORDER.length] ?? "system"
  try {
    localStorage.setItem(KEY, theme)
  } catch {
    // as above
  }
  applyTheme()
}

/** Calls back when colours may have changed, by choice or by the system. */
export function onTheme(listener: () => void): () => void {
  const media = matchMedia("(prefers-color-scheme: dark)")
  listeners.add(listener)
  media.addEventListener("change", listener)
  return () => {
    listeners.delete(listener)
    media.removeEventListener("change", listener)
  }
}

/** The choice, and what goes on to the next one. */
export function useTheme(): [Theme, () => void] {
  return [useSyncExternalStore(onTheme, () => theme), nextTheme]
}
