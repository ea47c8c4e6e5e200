/** Asks for a token where the gateway wants one, and says so where it took none. */
import { useClient, useWebSocket } from "engine-events-react"
import { useEffect, useRef, useState, type SubmitEvent } from "react"

import { keepToken, mustAsk, readToken } from "../credentials"

const NO_CREDENTIALS = 4501
const REFUSED = 4503
const EXPIRED = 4403

export function Door() {
  const client = useClient()
  const { state, closeCode } = useWebSocket(({ state, closeCode }) => ({ state, closeCode }))
  const [asked, setAsked] = useState(false)
  const dialog = useRef<HTMLDialogElement>(null)
  const turnedAway =
    (state === "closed" && (closeCode === NO_CREDENTIALS || closeCode === REFUSED)) ||
    (state !== "open" && closeCode === EXPIRED)
  const open = asked || turnedAway

  useEffect(() => {
    let gone = false
    void mustAsk().then((must) => {
      if (!must || gone) return
      client.close()
      setAsked(true)
    })
    return () => {
      gone = true
    }
  }, [client])
  useEffect(() => {
    const node = dialog.current
    if (open && node?.open === false) node.showModal()
    if (!open && node?.open === true) node.close()
  }, [open])

  function enter(event: SubmitEvent<HTMLFormElement>): void {
    event.preventDefault()
    const token = new FormData(event.currentTarget).get("token")
    if (typeof token !== "string" || token.trim() === "") return
    keepToken(token.trim())
    setAsked(false)
    client.close()
    client.setToken(token.trim())
    client.start()
  }
  return (
    <dialog ref={dialog} aria-labelledby="door-title" onCancel={(event) => event.preventDefault()}>
      <form onSubmit={enter}>
        <h2 id="door-title">This gateway asks for credentials</h2>
        <p>
          {readToken() !== undefined && turnedAway
            ? "It did not take that token, or the token has expired."
            : "Give a token, please."}
        </p>
        <label>
          <span className="hidden">Token</span>
          <input name="token" type="password" autoComplete="off" required placeholder="Token" autoFocus />
        </label>
        <p className="small">It is kept for this tab only.</p>
        <button type="submit" className="main">
          Connect
        </button>
      </form>
    </dialog>
  )
}
