import { afterAll, beforeAll, expect, test } from "vitest"
import { Observer } from "./kit/clients.js"
import { Stack } from "./kit/programs.js"

let stack: Stack
beforeAll(async () => {
  stack = await Stack.start({ rate: 20 })
})
afterAll(() => stack.end())

test("without types we have what the gateway gives to everybody, with them those and the heartbeat", async () => {
  const first = await new Observer({ url: stack.url }).open()
  expect(first.client.status.subscriptions).toEqual(
    // prettier-ignore
    ["agent.status", "compression.update", "connection_error", "heartbeat", "notification", "rpc_error", "storage.update", "system.status"],
  )
  const second = await new Observer({ url: stack.url, types: ["scheduler.*"] }, []).open()
  expect(second.client.status.subscriptions).toEqual(["heartbeat", "scheduler.*"])
})

test("the gateway is told of the first who wants a type and of the last", async () => {
  const observer = await new Observer({ url: stack.url, types: [] }, []).open()
  const { client } = observer
  const has = () => client.status.subscriptions.includes("notification")
  const releases = [client.subscribe(["notification"]), client.subscribe(["notification", "notification"])]
  await observer.sees("subscribed", has)
  releases[0]?.()
  releases[0]?.() // again: changes nothing
  const release = client.subscribe(["agent.status"])
  await observer.seesFresh("agent.status") // an answer to something later
  expect(has()).toBe(true)
  releases[1]?.()
  release()
  await observer.sees("unsubscribed", () => !has())
  expect(client.status.subscriptions).toEqual(["heartbeat"])
  await observer.seesStale("agent.status", "NOT_SUBSCRIBED")
  expect(client.topic("agent.status").data).toBeDefined()
  client.subscribe(["agent.status"])
  await observer.seesFresh("agent.status")
})

test("who takes a subscription back and wants it again in the same breath has never been without", async () => {
  const observer = await new Observer({ url: stack.url, types: [] }, []).open()
  const { client } = observer
  const release = client.onTopic("agent.status", () => undefined)
  await observer.seesFresh("agent.status")
  const answers: string[] = []
  client.subscribe(["subscribe", "unsubscribe"], (message) => answers.push(message.type))
  await observer.sees("the answer", () => answers.length === 1)
  release()
  client.onTopic("agent.status", () => undefined)
  const releaseOther = client.subscribe(["storage.update"])
  await observer.seesFresh("storage.update")
  releaseOther()
  await observer.sees("a second later", () => answers.includes("unsubscribe"))
  expect(client.status.subscriptions).toContain("agent.status")
  expect(client.topic("agent.status").stale).toBe(false)
})

test("what cannot be subscribed to is refused on the spot", () => {
  const { client } = new Observer({ url: stack.url, types: [] }, [])
  for (const wrong of ["", "Agent", "agent.", "*.status", "a b", "a".repeat(129)]) {
    expect(() => client.subscribe([wrong])).toThrow(TypeError)
  }
  const many = Array.from({ length: 64 }, (_, index) => `kind${index}`)
  expect(() => client.subscribe(many)).toThrow(RangeError)
  client.subscribe(many.slice(1))
})

test("64 subscriptions may be exchanged for 63 others", async () => {
  const observer = await new Observer({ url: stack.url, types: [] }, []).open()
  const names = (word: string) => Array.from({ length: 63 }, (_, index) => `${word}${index}`)
  const release = observer.client.subscribe(names("old"))
  await observer.sees("the old", () => observer.client.status.subscriptions.length === 64)
  release()
  observer.client.subscribe(names("new"))
  await observer.sees("the new", () => observer.client.status.subscriptions.includes("new62"))
  expect(observer.client.status.problem).toBeUndefined()
})

test("a listener that throws does not keep the others from hearing", async () => {
  const observer = await new Observer({ url: stack.url }).open()
  const thrown: unknown[] = []
  const uncaught = process.listeners("uncaughtException")
  process.removeAllListeners("uncaughtException")
  process.on("uncaughtException", (error) => thrown.push(error))
  const release = observer.client.subscribe(["notification"], () => {
    throw new Error("mine")
  })
  observer.listen("notification")
  await observer.sees("both", () => observer.numbers.length > 2 && thrown.length > 2)
  release()
  process.removeAllListeners("uncaughtException")
  for (const listener of uncaught) process.on("uncaughtException", listener)
})

test("status is another object only when something changed, and counters change a few times a second", async () => {
  const observer = await new Observer({ url: stack.url }).open()
  const { client } = observer
  await observer.seesFresh("system.status")
  let changes = 0
  client.onStatus(() => (changes += 1))
  const before = client.status
  expect(client.status).toBe(before)
  const fromMs = Date.now()
  await observer.sees("forty messages", () => client.status.received > before.received + 40)
  // four times a second for the counters; a heartbeat each second
  expect(changes).toBeLessThan(2 + ((Date.now() - fromMs) / 1000) * 6)
})
