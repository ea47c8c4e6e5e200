// The events of a page, dispatched in a window of happy-dom's, against a real gateway behind a relay.
import { Window } from "happy-dom"
import { afterAll, afterEach, beforeAll, beforeEach, expect, test, vi } from "vitest"
import { everyNumberOf, Observer } from "./kit/clients.js"
import { Stack } from "./kit/programs.js"
import { Relay } from "./kit/relay.js"

let stack: Stack
let relay: Relay
let page: Window
beforeAll(async () => {
  stack = await Stack.start({ rate: 20, gateway: { WS_GATEWAY_HEARTBEAT_S: "30" } })
})
afterAll(() => stack.end())
beforeEach(async () => {
  relay = await Relay.to(stack.gateway.port)
  page = new Window({ url: "https://dash.example/" })
  vi.stubGlobal("window", page)
  vi.stubGlobal("document", page.document)
  vi.stubGlobal("navigator", page.navigator)
})
afterEach(async () => {
  vi.unstubAllGlobals()
  await relay.end()
  await page.happyDOM.close()
})

const dispatch = (name: string) => page.dispatchEvent(new page.Event(name))

async function watching(options: { types?: string[] } = {}): Promise<Observer> {
  const observer = new Observer({ url: `ws://127.0.0.1:${relay.port}/ws`, ...options })
  observer.listen("notification")
  await observer.open()
  await observer.seesFresh("system.status")
  return observer
}

test("back online, it connects at once and has missed nothing", async () => {
  const observer = await watching()
  relay.cut()
  await observer.sees("several attempts", () => relay.asked > 4) // the waits have become longer
  relay.mend()
  const { asked } = relay
  await observer.sees("waiting", () => observer.client.status.state === "waiting")
  dispatch("online")
  expect(observer.client.status.state).toBe("connecting")
  await observer.seesFresh("system.status")
  expect(relay.asked).toBe(asked + 1)
  expect(observer.numbers).toEqual(everyNumberOf(observer.numbers))
})

test.each(["offline", "pageshow", "online"])(
  "after %s a connection that is dead is noticed within 3 s",
  async (name) => {
    const observer = await watching()
    relay.freeze() // no byte passes, and nobody is told
    dispatch(name)
    await observer.seesStale("system.status", "DISCONNECTED", 3_000)
    relay.thaw()
    await observer.seesFresh("system.status")
    expect(observer.numbers).toEqual(everyNumberOf(observer.numbers))
  },
)

test("a page that is shown again asks at once, and a connection that is alive goes on", async () => {
  const observer = await watching()
  const { clientId } = observer.client.status
  const answers: string[] = []
  observer.client.subscribe(["pong"], (message) => answers.push(message.type))
  page.document.dispatchEvent(new page.Event("visibilitychange"))
  await observer.sees("the pong", () => answers.length > 0)
  expect(observer.client.status.clientId).toBe(clientId)
})

test("a page that goes into the back-forward cache lets go of its connection and resumes from there", async () => {
  const observer = await watching()
  dispatch("pagehide")
  expect(observer.client.status.state).toBe("waiting")
  expect(observer.client.topic("system.status").errorCode).toBe("DISCONNECTED")
  dispatch("pageshow")
  await observer.seesFresh("system.status")
  const before = observer.numbers.length
  await observer.sees("news", () => observer.numbers.length > before + 5)
  expect(observer.numbers).toEqual(everyNumberOf(observer.numbers))
})

test("a reloaded page goes on where the one before was, with all its states and no event between lost", async () => {
  const kept = new Map<string, string>()
  const storage = {
    getItem: (name: string) => kept.get(name) ?? null,
    setItem: (name: string, text: string) => void kept.set(name, text),
    removeItem: (name: string) => void kept.delete(name),
  }
  const options = { url: stack.url, storage }
  const before = new Observer(options)
  before.listen("notification")
  await before.open()
  await before.seesFresh("agent.status")
  dispatch("pagehide")
  before.client.close()
  expect(kept.size).toBe(1)
  const after = new Observer(options)
  after.listen("notification")
  after.client.start()
  expect(after.client.topic("agent.status")).toMatchObject({ stale: true, errorCode: "DISCONNECTED" })
  expect(after.client.topic("agent.status").data?.total_agents).toBe(2)
  await after.seesFresh("agent.status")
  await after.sees("news", () => after.numbers.length > 5)
  const all = [...before.numbers, ...after.numbers]
  expect(all).toEqual(everyNumberOf(all))
  expect(after.client.topic("agent.status").lastUpdate).toBeInstanceOf(Date)
})

test("a closed client no longer hears the page", async () => {
  const observer = await watching()
  observer.client.close()
  dispatch("online")
  dispatch("pageshow")
  expect(observer.client.status.state).toBe("closed")
})
