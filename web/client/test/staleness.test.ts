import { afterAll, beforeAll, expect, test } from "vitest"
import { STATE_TYPES } from "../src/index.js"
import { Observer } from "./kit/clients.js"
import { Stack } from "./kit/programs.js"
import { within } from "./kit/waiting.js"

let stack: Stack
beforeAll(async () => {
  stack = await Stack.start({ rate: 20 })
})
afterAll(() => stack.end())

test("before anything has come a topic is not fresh", async () => {
  const observer = new Observer({ url: stack.url })
  const { client } = observer
  expect(client.topic("system.status")).toEqual({
    data: undefined,
    stale: true,
    lastUpdate: undefined,
    errorCode: "DISCONNECTED",
  })
  await observer.open()
  await observer.seesFresh("system.status")
  const { data, lastUpdate } = client.topic("system.status")
  expect(data?.hostname).toBe("scripted")
  expect(data).not.toHaveProperty("stale")
  expect(Date.now() - (lastUpdate?.getTime() ?? 0)).toBeLessThan(2_000)
})

test("an engine that is killed makes states stale with its code, and fresh again when it is back", async () => {
  const observer = await new Observer({ url: stack.url }).open()
  await observer.seesFresh("storage.update")
  await stack.engine.end("SIGKILL")
  await observer.seesStale("storage.update", "RPC_DISCONNECT", 3_000)
  expect(observer.client.topic("storage.update").data?.pools[0]?.name).toBe("tank")
  expect(observer.client.topic("storage.update").lastUpdate).toBeInstanceOf(Date)
  await stack.engine.start()
  await observer.seesFresh("storage.update", 5_000)
  await within(10_000, "all is well", () => stack.isReady())
})

test("a bridge that is killed makes every state stale, and its successor makes them fresh", async () => {
  const observer = await new Observer({ url: stack.url }).open()
  for (const type of STATE_TYPES) await observer.seesFresh(type)
  await stack.bridge.end("SIGKILL")
  for (const type of STATE_TYPES) await observer.seesStale(type, "BRIDGE_DISCONNECT", 3_000)
  expect(observer.client.status.bridgeConnected).toBe(false)
  await stack.bridge.start()
  for (const type of STATE_TYPES) await observer.seesFresh(type)
  expect(observer.client.status.bridgeConnected).toBe(true)
})

test("a connection that is lost makes every state stale at once, and all are fresh after a recovered resume", async () => {
  const observer = await new Observer({ url: stack.url }).open()
  for (const type of STATE_TYPES) await observer.seesFresh(type)
  await stack.gateway.end("SIGKILL")
  for (const type of STATE_TYPES) await observer.seesStale(type, "DISCONNECTED", 2_000)
  await stack.gateway.start()
  for (const type of STATE_TYPES) await observer.seesFresh(type)
  for (const type of STATE_TYPES) expect(observer.shown[type].at(-2)).toBe("DISCONNECTED")
})

test("a gateway and a bridge that both begin anew leave nothing of the old journal fresh", async () => {
  const observer = await new Observer({ url: stack.url }).open()
  for (const type of STATE_TYPES) await observer.seesFresh(type)
  await Promise.all([stack.gateway.end("SIGKILL"), stack.bridge.end("SIGKILL"), stack.engine.end("SIGKILL")])
  await observer.seesStale("system.status", "DISCONNECTED")
  await Promise.all([stack.gateway.start(), stack.bridge.start()])
  await observer.seesStale("system.status", "UNCONFIRMED")
  expect(observer.client.topic("system.status").data?.hostname).toBe("scripted")
  expect(observer.shown["system.status"].slice(observer.shown["system.status"].indexOf("DISCONNECTED"))).not.toContain(
    "",
  )
  await stack.engine.start()
  for (const type of STATE_TYPES) await observer.seesFresh(type)
  expect(observer.gaps.map((gap) => gap.reason)).toEqual(["epoch"])
})

test("a type that is no longer subscribed to is stale", async () => {
  const observer = await new Observer({ url: stack.url, types: [] }).open()
  const { client } = observer
  const release = client.subscribe(["agent.status"])
  await observer.seesFresh("agent.status")
  expect(client.status.subscriptions).toContain("agent.status")
  release() // the observer itself still wants it
  await observer.sees("still subscribed", () => client.status.subscriptions.includes("agent.status"))
  expect(client.topic("agent.status").stale).toBe(false)
})
