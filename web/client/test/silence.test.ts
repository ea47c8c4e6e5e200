import { afterAll, beforeAll, expect, test } from "vitest"
import { everyNumberOf, Observer } from "./kit/clients.js"
import { Stack } from "./kit/programs.js"

let stack: Stack
beforeAll(async () => {
  stack = await Stack.start({ rate: 20 })
})
afterAll(() => stack.end())

test("a gateway that is frozen is noticed, and nothing is missing when it is thawed", async () => {
  const observer = new Observer({ url: stack.url })
  observer.listen("notification")
  await observer.open()
  await observer.seesFresh("system.status")
  stack.gateway.signal("SIGSTOP")
  const frozenMs = Date.now()
  await observer.seesStale("system.status", "DISCONNECTED", 10_000)
  expect(Date.now() - frozenMs).toBeLessThan(8_000)
  expect(observer.client.status.closeReason).toBe("silent")
  stack.gateway.signal("SIGCONT")
  await observer.seesFresh("system.status")
  const before = observer.numbers.length
  await observer.sees("news", () => observer.numbers.length > before + 10)
  expect(observer.numbers).toEqual(everyNumberOf(observer.numbers))
})

test("a quiet connection whose gateway answers is left alone", async () => {
  const observer = new Observer({ url: stack.url, types: ["scheduler.*"] }, [])
  await observer.open()
  const { clientId } = observer.client.status
  await observer.sees("some heartbeats", () => observer.client.status.received > 4)
  expect(observer.client.status.clientId).toBe(clientId)
})
