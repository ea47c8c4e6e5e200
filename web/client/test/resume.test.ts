import { afterAll, beforeAll, expect, test } from "vitest"
import { everyNumberOf, Observer } from "./kit/clients.js"
import { Stack } from "./kit/programs.js"

let stack: Stack
beforeAll(async () => {
  stack = await Stack.start({ rate: 50 })
})
afterAll(() => stack.end())

test("a gateway killed and restarted costs no event and repeats none", async () => {
  const { client, ...observer } = await watching()
  for (let round = 0; round < 2; round += 1) {
    const before = observer.heard()
    await stack.gateway.end("SIGKILL")
    await observer.sees("the loss", () => client.status.state !== "open")
    await stack.gateway.start()
    await observer.sees("open again", () => client.status.state === "open")
    await observer.sees("news", () => observer.heard() > before + 50)
  }
  expect(observer.numbers()).toEqual(everyNumberOf(observer.numbers()))
  expect(client.status.reconnects).toBe(2)
  expect(client.status.lost).toBe(0)
  expect(observer.gaps.every((gap) => gap.lost === 0 && gap.reason === "resume")).toBe(true)
})

test("a gateway that stops in order says when to come back, and that is when we come", async () => {
  const { client, ...observer } = await watching()
  await stack.gateway.end("SIGTERM")
  await observer.sees("waiting", () => client.status.state === "waiting")
  expect(client.status.closeCode).toBe(1012)
  const wish = Number(/^retry_after_ms=(\d+)$/.exec(client.status.closeReason ?? "")?.[1])
  const inMs = (client.status.retryAt?.getTime() ?? 0) - Date.now()
  expect(inMs).toBeGreaterThan(wish - 200)
  expect(inMs).toBeLessThanOrEqual(wish)
  await stack.gateway.start()
  const before = observer.heard()
  await observer.sees("news", () => observer.heard() > before + 50)
  expect(observer.numbers()).toEqual(everyNumberOf(observer.numbers()))
})

test("a bridge that lost its journal is told as a gap, and its events go on", async () => {
  const { client, ...observer } = await watching()
  const epoch = client.status.epoch
  await stack.bridge.end("SIGKILL")
  await stack.bridge.start()
  await observer.sees("another epoch", () => client.status.epoch !== epoch)
  expect(observer.gaps.map((gap) => gap.reason)).toEqual(["epoch"])
  expect(client.status.reconnects).toBe(0)
  const before = observer.heard()
  await observer.sees("news", () => observer.heard() > before + 20)
})

test("states that passed while the gateway was without its bridge are told as superseded, and no event is missing", async () => {
  const { client, ...observer } = await watching()
  stack.bridgeLink.cut()
  await observer.sees("stale", () => client.topic("system.status").errorCode === "BRIDGE_DISCONNECT")
  const cutMs = Date.now()
  await observer.sees("three polls", () => Date.now() > cutMs + 1_500)
  stack.bridgeLink.mend()
  await observer.sees("the gap", () => observer.gaps.length > 0)
  expect(observer.gaps[0]).toMatchObject({ reason: "behind", lost: 0 })
  expect(client.status.superseded).toBeGreaterThan(0)
  const before = observer.heard()
  await observer.sees("news", () => observer.heard() > before + 50)
  expect(observer.numbers()).toEqual(everyNumberOf(observer.numbers()))
  expect(client.status.reconnects).toBe(0)
})

test("a gateway that starts without its bridge makes us lose nothing when it has it", async () => {
  const { client, ...observer } = await watching()
  stack.bridgeLink.cut()
  await stack.gateway.end("SIGKILL")
  await stack.gateway.start()
  await observer.sees("no bridge", () => client.status.bridgeConnected === false)
  expect(client.status.state).toBe("open")
  expect(client.topic("system.status").errorCode).toBe("BRIDGE_DISCONNECT")
  stack.bridgeLink.mend()
  await observer.sees("fresh", () => !client.topic("system.status").stale)
  const before = observer.heard()
  await observer.sees("news", () => observer.heard() > before + 50)
  expect(observer.numbers()).toEqual(everyNumberOf(observer.numbers()))
  expect(client.status.lost).toBe(0)
  expect(observer.gaps.every((gap) => gap.reason === "resume")).toBe(true)
})

/** A client that hears everything, at work. */
async function watching() {
  const observer = new Observer({ url: stack.url })
  observer.listen("notification", "*")
  await observer.open()
  await observer.sees("events", () => observer.numbers.length > 10)
  return {
    client: observer.client,
    gaps: observer.gaps,
    heard: () => observer.numbers.length,
    numbers: () => observer.numbers,
    sees: observer.sees.bind(observer),
  }
}
