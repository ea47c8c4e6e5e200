// A bridge outage that ends while we are away: the gateway does not take its marks back after a recovered resume.
import { afterAll, beforeAll, expect, test } from "vitest"
import { Observer } from "./kit/clients.js"
import { Stack } from "./kit/programs.js"
import { Relay } from "./kit/relay.js"
import { within } from "./kit/waiting.js"

let stack: Stack
let relay: Relay
beforeAll(async () => {
  // so rarely asked that nothing comes again by itself
  stack = await Stack.start({ pollS: 3600, gateway: { WS_GATEWAY_HEARTBEAT_S: "20" } })
  relay = await Relay.to(stack.gateway.port)
})
afterAll(async () => {
  await relay.end()
  await stack.end()
})

test.each([
  ["by its name", ["system.status"]],
  ["by a pattern", ["system.*", "rpc_error"]],
  ["with everything", ["*"]],
])("a state under the gateway's mark is fresh again after a recovered resume, subscribed %s", async (_, types) => {
  const observer = new Observer({ url: `ws://127.0.0.1:${relay.port}/ws`, types }, [])
  await observer.open()
  await observer.seesFresh("system.status")
  stack.bridgeLink.cut()
  await observer.seesStale("system.status", "BRIDGE_DISCONNECT")
  relay.cut()
  await observer.seesStale("system.status", "DISCONNECTED")
  stack.bridgeLink.mend()
  await within(20_000, "the gateway has its bridge again", () => stack.isReady())
  relay.mend()
  await observer.seesFresh("system.status", 8_000)
  expect(observer.client.status.reconnects).toBe(1)
  expect(observer.gaps).toEqual([])
})

test("an outage that lasts is not forgotten by a recovered resume", async () => {
  const observer = new Observer({ url: `ws://127.0.0.1:${relay.port}/ws` })
  await observer.open()
  await observer.seesFresh("system.status")
  stack.bridgeLink.cut()
  await observer.seesStale("system.status", "BRIDGE_DISCONNECT")
  relay.cut()
  await observer.seesStale("system.status", "DISCONNECTED")
  relay.mend()
  await observer.seesStale("system.status", "BRIDGE_DISCONNECT")
  stack.bridgeLink.mend()
  await observer.seesFresh("system.status")
  expect(observer.shown["system.status"].slice(-4)).toEqual([
    "BRIDGE_DISCONNECT",
    "DISCONNECTED",
    "BRIDGE_DISCONNECT",
    "",
  ])
})

test("a bridge that goes while we are away is never shown as there", async () => {
  const observer = new Observer({ url: `ws://127.0.0.1:${relay.port}/ws` })
  await observer.open()
  await observer.seesFresh("system.status")
  relay.cut()
  await observer.seesStale("system.status", "DISCONNECTED")
  stack.bridgeLink.cut()
  await within(20_000, "the gateway noticed", async () => !(await stack.isReady()))
  relay.mend()
  await observer.seesStale("system.status", "BRIDGE_DISCONNECT")
  expect(observer.shown["system.status"].slice(-2)).toEqual(["DISCONNECTED", "BRIDGE_DISCONNECT"])
  stack.bridgeLink.mend()
  await observer.seesFresh("system.status")
})

test("what was subscribed to while away comes with its state, though the position is recovered", async () => {
  const observer = new Observer({ url: `ws://127.0.0.1:${relay.port}/ws`, types: ["notification"] }, [])
  await observer.open()
  relay.cut()
  await observer.sees("the loss", () => observer.client.status.state !== "open")
  observer.client.subscribe(["storage.*"])
  relay.mend()
  await observer.seesFresh("storage.update")
  expect(observer.client.status.subscriptions).toEqual(["heartbeat", "notification", "storage.*"])
})
