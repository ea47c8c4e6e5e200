// What the page around us tells of sleeping, waking and the network. Where there is no page, nothing.

export interface PageListener {
  /** Shown again, thawed, back from the back-forward cache, or online again: find out at once where we stand. */
  woke(): void
  /** The network changed or went away: what is open may be dead. */
  doubted(): void
  /** The page is going; it may come back from the back-forward cache, and `woke` then. */
  left(): void
}

/** Listens until the function that it gives is called. */
export function listenToPage(listener: PageListener): () => void {
  const page = typeof document === "undefined" ? undefined : document
  const view = typeof window === "undefined" ? undefined : window
  if (page === undefined || view === undefined) return () => undefined
  const { connection } = navigator as Navigator & { connection?: EventTarget }
  const ear = new AbortController()
  const on = (target: EventTarget | undefined, names: string[], hear: () => void) => {
    for (const name of names) target?.addEventListener(name, hear, { signal: ear.signal })
  }
  on(page, ["visibilitychange"], () => {
    if (page.visibilityState === "visible") listener.woke()
  })
  on(page, ["resume"], () => listener.woke())
  on(view, ["online", "pageshow"], () => listener.woke())
  on(view, ["offline"], () => listener.doubted())
  on(connection, ["change"], () => listener.doubted())
  on(view, ["pagehide"], () => listener.left())
  return () => ear.abort()
}
