import { createHmac } from "node:crypto"
import { mkdtempSync, rmSync, writeFileSync } from "node:fs"
import { tmpdir } from "node:os"
import { join } from "node:path"
import { afterAll, beforeAll, expect, test } from "vitest"
import { everyNumberOf, Observer } from "./kit/clients.js"
import { Stack } from "./kit/programs.js"

const SECRET = "a secret of thirty-two bytes or more"

let stack: Stack
let directory: string
beforeAll(async () => {
  directory = mkdtempSync(join(tmpdir(), "engine-events-tokens-"))
  writeFileSync(
    join(directory, "tokens"),
    "everything/static+token=\nsystem-only system.*\nfew system.* notification\n",
  )
  writeFileSync(join(directory, "key"), SECRET)
  stack = await Stack.start({
    rate: 10,
    gateway: { WS_GATEWAY_TOKENS_FILE: join(directory, "tokens"), WS_GATEWAY_JWT_KEY_FILE: join(directory, "key") },
  })
})
afterAll(async () => {
  await stack.end()
  rmSync(directory, { recursive: true })
})

test("a token lets us in, whatever characters it has", async () => {
  const observer = await new Observer({ url: stack.url, token: "everything/static+token=" }).open()
  await observer.seesFresh("system.status")
})

test("a wrong token is refused for good, and a new one is tried at once", async () => {
  const observer = new Observer({ url: stack.url, token: "wrong" })
  observer.client.start()
  await observer.sees("the refusal", () => observer.client.status.closeCode === 4503)
  expect(observer.client.status.state).toBe("closed")
  expect(observer.client.status.retryAt).toBeUndefined()
  observer.client.setToken("everything/static+token=")
  await observer.seesFresh("system.status")
})

test("no token is refused for good after the gateway's patience", async () => {
  const observer = new Observer({ url: stack.url })
  observer.client.start()
  await observer.sees("the refusal", () => observer.client.status.closeCode === 4501)
  expect(observer.client.status.state).toBe("closed")
})

test("a token that is set on the live connection outlives the end of the one before", async () => {
  const observer = new Observer({ url: stack.url, token: jwt(1) })
  const { client } = observer
  await observer.open()
  await observer.seesFresh("system.status")
  client.setToken(jwt(60)) // on the live connection
  const { clientId } = client.status
  await observer.sees("past the old end", () => Date.now() > expiredAtMs + 300)
  expect(client.status.clientId).toBe(clientId)
  expect(client.status.reconnects).toBe(0)
})

test("a source of tokens is asked before a JWT ends, so that the connection does not", async () => {
  let asked = 0
  const observer = new Observer({ url: stack.url, token: () => jwt(asked++ === 0 ? 2 : 60) })
  await observer.open()
  await observer.sees("another token", () => asked > 1)
  await observer.sees("past the old end", () => Date.now() > expiredAtMs + 300)
  await observer.seesFresh("system.status")
  expect(observer.client.status.closeCode).toBeUndefined()
})

test("a source that has nothing yet is asked again after 4403, and no event is missing", async () => {
  let asked = 0
  const token = async () => {
    asked += 1
    if (asked === 2) throw new Error("not now")
    return Promise.resolve(jwt(asked === 1 ? 2 : 60))
  }
  const observer = new Observer({ url: stack.url, token })
  observer.listen("notification")
  await observer.open()
  await observer.sees("another connection", () => observer.client.status.reconnects === 1)
  expect(observer.client.status.closeCode).toBe(4403)
  const before = observer.numbers.length
  await observer.sees("news", () => observer.numbers.length > before + 5)
  expect(observer.numbers).toEqual(everyNumberOf(observer.numbers))
})

test("a static token's end brings 4403 and then the refusal", async () => {
  const codes: number[] = []
  const observer = new Observer({ url: stack.url, token: jwt(2) })
  observer.client.onStatus(() => codes.push(observer.client.status.closeCode ?? 0))
  await observer.open()
  await observer.sees("the refusal", () => observer.client.status.closeCode === 4503)
  expect(codes).toContain(4403)
  expect(observer.client.topic("system.status").errorCode).toBe("DISCONNECTED")
})

test("what a token does not cover is told as a problem, and the rest is had", async () => {
  const observer = new Observer({ url: stack.url, token: "system-only", types: ["*"] })
  await observer.open()
  await observer.seesFresh("system.status")
  const names = Array.from({ length: 15 }, (_, index) => `storage.kind${index}`)
  observer.client.subscribe([...names, "system.metrics"])
  await observer.sees("what is allowed", () => observer.client.status.subscriptions.includes("system.metrics"))
  expect(observer.client.status.problem?.code).toBe("INVALID_SUBSCRIPTION")
  expect(observer.client.status.state).toBe("open")
  expect(observer.client.topic("storage.update").data).toBeUndefined()
})

test("a token that covers more brings what was refused before", async () => {
  const observer = new Observer({ url: stack.url, token: "system-only" })
  await observer.open()
  await observer.seesFresh("system.status")
  expect(observer.client.topic("agent.status").errorCode).toBe("NO_DATA")
  observer.client.setToken("everything/static+token=")
  await observer.seesFresh("agent.status")
  expect(observer.client.status.reconnects).toBe(0)
})

let expiredAtMs = 0

/** A JWT that is good for so many seconds, and remembers when it ends. */
function jwt(lifeS: number, id = "test"): string {
  const exp = Math.floor(Date.now() / 1000) + 1 + lifeS
  if (lifeS < 10) expiredAtMs = exp * 1000
  const part = (value: object) => Buffer.from(JSON.stringify(value)).toString("base64url")
  const text = `${part({ alg: "HS256", typ: "JWT" })}.${part({ exp, sub: id, topics: ["*"] })}`
  return `${text}.${createHmac("sha256", SECRET).update(text).digest("base64url")}`
}
