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
import { Guard } from "./parts/Guard"

export function Page() {
  return (
    <>
      <a className="skip" href="#panels">
        Skip to the panels
      </a>
      <Top />
      <main id="panels">
        <Guard name="sources">
          <Sources />
        </Guard>
        <Guard name="system">
          <System />
        </Guard>
        <Guard name="storage">
          <Storage />
        </Guard>
        <Guard name="agents">
          <Agents />
        </Guard>
        <Guard name="compression">
          <Compression />
        </Guard>
        <Guard name="notifications">
          <Notifications />
        </Guard>
        <Guard name="inspector">
          <Inspector />
        </Guard>
      </main>
      <Stream />
      <Door />
    </>
  )
}
