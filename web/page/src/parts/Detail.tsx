/** One event in full, and a way to take it along. */
import { memo, useEffect, useState } from "react"

import type { Entry } from "../tape"
import { Nothing } from "./Panel"

const SAID_FOR_MS = 2000

export const Detail = memo(function Detail({ entry }: { entry: Entry | undefined }) {
  const [said, setSaid] = useState("")
  useEffect(() => {
    if (said === "") return
    const timer = setTimeout(() => setSaid(""), SAID_FOR_MS)
    return () => clearTimeout(timer)
  }, [said])

  if (entry === undefined) {
    return (
      <div className="detail">
        <Nothing>Choose an event to look into it.</Nothing>
      </div>
    )
  }
  const text = JSON.stringify(entry.message, null, 2)
  return (
    <div className="detail">
      <div className="line">
        <strong className="clip">{entry.message.type}</strong>
        <span className="small" role="status">
          {said}
        </span>
        <button
          type="button"
          onClick={() => void copy(text).then((done) => setSaid(done ? "copied" : "select it by hand, please"))}
        >
          Copy JSON
        </button>
      </div>
      <pre className="scroll" tabIndex={0} aria-label="The event as JSON">
        {text}
      </pre>
    </div>
  )
})

/** False: the browser does not let this page do so, as over plain http from another machine. */
async function copy(text: string): Promise<boolean> {
  // the types say that it is always there; it is not without https
  const clipboard = navigator.clipboard as Clipboard | undefined
  if (clipboard === undefined) return false
  try {
    await clipboard.writeText(text)
    return true
  } catch {
    return false
  }
}
