/** The page: what stands where. */
import { Agents } from "./panels/Agents"
import { Compression } from "./panels/Compression"
import { Door } from "./panels/Door"
import { Inspector } from "./panels/Inspector"
import { Notifications } from "./panels/Notifications"
import { Sources } from "./panels/Sources"
import { Storage } from "./panels/Storage"
import { Stream } from "./panels/Stream"
import { System } from "./panels/System"
import { Top } from "./panels/Top"

export function Page() {
  return (
    <>
      <a className="skip" href="#panels">
        Skip to the panels
      </a>
      <Top />
      <main id="panels">
        <Sources />
        <System />
        <Storage />
        <Agents />
        <Compression />
        <Notifications />
        <Inspector />
      </main>
      <Stream />
      <Door />
    </>
  )
}
