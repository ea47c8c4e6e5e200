import fc from "fast-check"
import { expect, test } from "vitest"
import type { Message } from "../src/index.js"
import { StateStore } from "../src/store.js"

const AT = "2026-01-02T03:04:05.678Z"

function status(seq: number | undefined, data: object = {}): Message {
  const marks = seq === undefined ? { stale: true, error_code: "BRIDGE_DISCONNECT", last_update: AT } : { stale: false }
  return { type: "system.status", timestamp: AT, ...(seq !== undefined && { seq }), data: { n: 1, ...data, ...marks } }
}

function job(id: string, state: string, seq: number, timestamp = seq): Message {
  const data = { job_id: id, status: state, timestamp, stale: false }
  return { type: "compression.update", timestamp: AT, seq, data }
}

function queue(ids: string[], seq: number): Message {
  const data = { jobs: ids.map((job_id) => ({ job_id })), timestamp: seq, stale: false }
  return { type: "compression.update", timestamp: AT, seq, data }
}

function connected(...messages: Message[]): StateStore {
  const store = new StateStore()
  store.connect()
  for (const message of messages) store.take(message, "e", 0)
  return store
}

test("a state is shown without the marks of the wire, with its time by our clock", () => {
  const store = connected()
  expect(store.topic("system.status").errorCode).toBe("NO_DATA")
  store.take(status(1), "e", 1_000)
  expect(store.topic("system.status")).toEqual({
    data: { n: 1 },
    stale: false,
    lastUpdate: new Date(Date.parse(AT) + 1_000),
    errorCode: undefined,
  })
})

test("a topic is the same object until it changes, and only what changed is told", () => {
  const store = connected(status(1), job("a", "running", 2))
  expect([...store.changes()].sort()).toEqual([
    "agent.status",
    "compression.update",
    "jobs",
    "storage.update",
    "system.status",
  ])
  const [topic, jobs] = [store.topic("system.status"), store.jobs()]
  store.confirm()
  store.unmark("e")
  expect([...store.changes()]).toEqual([])
  expect(store.topic("system.status")).toBe(topic)
  store.take(job("a", "running", 3), "e", 0)
  expect([...store.changes()]).toEqual(["jobs"])
  expect(store.topic("system.status")).toBe(topic)
  expect(store.jobs()).not.toBe(jobs)
})

test("an older word about a state changes nothing, one of another journal does", () => {
  const store = connected(status(5, { n: 5 }))
  store.take(status(4, { n: 4 }), "e", 0)
  expect(store.topic("system.status").data).toEqual({ n: 5 })
  store.take(status(1, { n: 0 }), "f", 0)
  expect(store.topic("system.status").data).toEqual({ n: 0 })
})

test("the gateway's mark goes with the gateway's word, and not for another journal or other data", () => {
  const store = connected(status(1), status(undefined))
  expect(store.topic("system.status").errorCode).toBe("BRIDGE_DISCONNECT")
  store.unmark("f")
  expect(store.topic("system.status").stale).toBe(true)
  store.unmark("e")
  expect(store.topic("system.status").stale).toBe(false)
  store.take(status(undefined, { n: 2 }), "e", 0) // the bridge's own word about this one never came
  store.unmark("e")
  expect(store.topic("system.status").errorCode).toBe("BRIDGE_DISCONNECT")
})

test("after doubt only what is said again is fresh, and jobs that are not are no more", () => {
  const store = connected(status(1), job("a", "running", 2), job("b", "running", 3))
  store.goAway()
  store.doubt()
  expect(store.topic("system.status").errorCode).toBe("UNCONFIRMED")
  store.unmark("e")
  expect(store.topic("system.status").errorCode).toBe("UNCONFIRMED")
  store.take(job("b", "running", 1), "f", 0)
  store.forgetUnconfirmedJobs()
  expect([...store.jobs().keys()]).toEqual(["b"])
  expect(store.jobs().get("b")?.stale).toBe(false)
  expect(store.topic("system.status").stale).toBe(true)
})

test("what nobody asked for meanwhile is unconfirmed when it is told again, and jobs that are not told then are no more", () => {
  const store = connected(job("a", "running", 1), job("b", "running", 2))
  store.markTypes(() => false)
  expect(store.jobs().get("a")?.errorCode).toBe("NOT_SUBSCRIBED")
  store.markTypes(() => true)
  store.take({ ...job("b", "running", 2), snapshot: true }, "e", 0)
  expect(store.jobs().get("a")?.errorCode).toBe("UNCONFIRMED")
  store.forgetUnconfirmedJobs()
  expect([...store.jobs().keys()]).toEqual(["b"])
})

test("jobs that ended are forgotten when the engine no longer lists them, and those that it may not know yet are not", () => {
  const jobs = [job("old", "completed", 1), job("listed", "failed", 2), job("running", "running", 3)]
  const store = connected(...jobs, job("newer", "completed", 4, 99))
  store.take(queue(["listed"], 5), "e", 0)
  expect([...store.jobs().keys()]).toEqual(["listed", "running", "newer"])
})

test("what is kept for another page is there again, away", () => {
  const store = new StateStore()
  const saved = JSON.stringify(connected(status(1), job("a", "running", 2), status(undefined)).save())
  store.restore(JSON.parse(saved) as ReturnType<StateStore["save"]>)
  expect(store.topic("system.status")).toMatchObject({ data: { n: 1 }, errorCode: "DISCONNECTED" })
  store.confirm()
  expect(store.topic("system.status").errorCode).toBe("BRIDGE_DISCONNECT")
  expect(store.jobs().get("a")?.stale).toBe(false)
})

test("whatever happens, nothing is fresh but what the bridge said last in the present journal while we are there", () => {
  const step = fc.oneof(
    fc.record({ kind: fc.constant("live" as const), stale: fc.boolean(), n: fc.nat(3) }),
    fc.record({ kind: fc.constant("mark" as const), n: fc.nat(3) }),
    fc.record({ kind: fc.constantFrom("away", "confirm", "doubt", "unmark", "drop") }),
  )
  fc.assert(
    fc.property(fc.array(step, { maxLength: 30 }), (steps) => {
      const store = connected()
      let seq = 0
      let bridge: { stale: boolean; n: number } | undefined // its last word; undefined: none that still counts
      let isMarked = false
      let isAway = false
      for (const one of steps) {
        if (one.kind === "live" && "stale" in one) {
          seq += 1
          const data = { n: one.n, stale: one.stale, error_code: "RPC_DISCONNECT", last_update: AT }
          store.take({ type: "system.status", timestamp: AT, seq, data }, "e", 0)
          bridge = one
          isMarked = isAway = false
        } else if (one.kind === "mark" && "n" in one) {
          store.take(status(undefined, { n: one.n }), "e", 0)
          if (bridge?.n !== one.n) bridge = undefined
          isMarked = true
          isAway = false
        } else if (one.kind === "away") {
          store.goAway()
          isAway = true
        } else if (one.kind === "confirm") {
          store.confirm()
          isAway = false
        } else if (one.kind === "doubt") {
          store.doubt()
          bridge = undefined
          isAway = false
        } else if (one.kind === "unmark") {
          store.unmark("e")
          isMarked = false
        } else {
          store.markTypes(() => false)
          bridge = undefined
        }
        if (!store.topic("system.status").stale) {
          expect(bridge).toBeDefined()
          expect(bridge?.stale || isMarked || isAway).toBe(false)
        }
      }
    }),
  )
})
