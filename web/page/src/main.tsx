/** Starts the page: one client for the host that served it, and React on top. */
import "./styles/index.css"

import { EventClient } from "engine-events-client"
import { EngineEvents } from "engine-events-react"
import { StrictMode } from "react"
import { createRoot } from "react-dom/client"

import { readToken } from "./credentials"
import { Page } from "./Page"
import { applyTheme } from "./theme"

applyTheme()

const token = readToken()
const client = new EventClient({ url: "ws", types: ["*"], ...(token === undefined ? {} : { token }) })

performance.mark("connect")
client.start()

const place = document.getElementById("page")
if (place === null) throw new Error("index.html has no place for the page")
createRoot(place).render(
  <StrictMode>
    <EngineEvents client={client}>
      <Page />
    </EngineEvents>
  </StrictMode>,
)
