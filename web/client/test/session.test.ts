// What cannot be brought about with the real programs in a test's time: each message here has the form of the gateway's.
import fc from "fast-check"
import { expect, test } from "vitest"
import type { Message, Welcome } from "../src/index.js"
import type { Reaction } from "../src/session.js"
import { Session } from "../src/session.js"

const AT = "2026-01-02T03:04:05.678Z"
const NOW_MS = Date.parse(AT)

function welcome(epoch: string, seq: number, resume: Partial<Welcome["resume"]> = {}, types = ["*"]): Message<Welcome> {
  const none = { requested: false, recovered: false, replayed: 0, superseded: 0, lost: 0 }
  const data = { message: "connected", level: "info" as const, client_id: "me", subscriptions: types, heartbeat_s: 30 }
  return { type: "notification", timestamp: AT, data: { ...data, epoch, seq, resume: { ...none, ...resume } } }
}
const recovered = (replayed = 0) => ({ requested: true, recovered: true, replayed })
const log = (seq: number): Message => ({ type: "notification", timestamp: AT, seq, data: { message: String(seq) } })
function state(seq: number, rest: Partial<Message> = {}): Message {
  return { type: "system.status", timestamp: AT, seq, data: { n: seq, stale: false }, ...rest }
}
function marked(n: number): Message {
  const data = { n, stale: true, error_code: "BRIDGE_DISCONNECT", last_update: AT }
  return { type: "system.status", timestamp: AT, data }
}
function heartbeat(bridge_connected: boolean, epoch = "e"): Message {
  const data = { server_time: 0, epoch, seq: 9, bridge_connected, freshness: { "system.status": 0.5, other: null } }
  return { type: "heartbeat", timestamp: AT, data }
}
const pong = (id: string | undefined): Message => ({ type: "pong", timestamp: AT, id: id ?? "", data: {} })

function tell(session: Session, ...messages: Message[]): Reaction {
  let reaction: Reaction = { deliver: false }
  for (const message of messages) reaction = session.receive(message, NOW_MS)
  return reaction
}

const shown = (session: Session) => session.store.topic("system.status").errorCode ?? "fresh"

test("states stay away until all that changed meanwhile has been replayed", () => {
  const session = new Session()
  tell(session, welcome("e", 1), state(2))
  session.disconnected()
  const { barrier } = tell(session, welcome("e", 9, recovered(2)))
  tell(session, pong(barrier)) // a gateway that writes more than we read says this before the replay
  expect(shown(session)).toBe("DISCONNECTED")
  tell(session, log(5))
  expect(shown(session)).toBe("DISCONNECTED")
  tell(session, log(6))
  expect(shown(session)).toBe("fresh")
})

test("a pong to an earlier barrier says nothing about this connection", () => {
  const session = new Session()
  const { barrier } = tell(session, welcome("e", 1), state(2), welcome("e", 2))
  session.disconnected()
  tell(session, welcome("e", 2, recovered()), pong(barrier))
  expect(shown(session)).toBe("DISCONNECTED")
})

test("a heartbeat settles what nobody answered", () => {
  const session = new Session()
  tell(session, welcome("e", 1), state(2))
  session.disconnected()
  tell(session, welcome("e", 2, recovered()), heartbeat(true))
  expect(shown(session)).toBe("fresh")
  expect(session.freshness).toEqual({ "system.status": 0.5 })
})

test("a heartbeat with the bridge takes the gateway's mark away, one without it or of another journal does not", () => {
  const session = new Session()
  const types = ["system.*"] // nobody tells us of the outage but the marks
  tell(session, welcome("e", 1, {}, types), state(2), marked(2))
  session.disconnected()
  const { barrier } = tell(session, welcome("e", 2, recovered(), types))
  tell(session, pong(barrier), heartbeat(false), heartbeat(true, "f"))
  expect(shown(session)).toBe("BRIDGE_DISCONNECT")
  tell(session, heartbeat(true))
  expect(shown(session)).toBe("fresh")
})

test("a type subscribed to by name is asked for again, where nothing else says how it is", () => {
  const session = new Session()
  const types = ["agent.status", "notification", "system.status"]
  tell(session, welcome("e", 1, {}, types), state(2), marked(2))
  session.disconnected()
  const { barrier } = tell(session, welcome("e", 2, recovered(), types))
  expect(tell(session, pong(barrier)).refresh).toEqual(["system.status", "agent.status"])
})

test("what another gateway tells that has read less of the journal is neither news nor a step back", () => {
  const session = new Session()
  tell(session, welcome("e", 1), state(7), log(8))
  session.disconnected()
  tell(session, welcome("e", 5, { requested: true }), state(5, { snapshot: true }))
  expect(session.position).toEqual({ epoch: "e", seq: 8 })
  expect(session.store.topic("system.status")).toMatchObject({ data: { n: 7 }, errorCode: "UNCONFIRMED" })
  expect(tell(session, log(8)).deliver).toBe(false)
  expect(tell(session, log(9)).deliver).toBe(true)
})

test("a gateway without its bridge makes nothing fresh, and when it has it we come again with our position", () => {
  const session = new Session()
  tell(session, welcome("e", 1), state(2))
  session.disconnected()
  tell(session, welcome("", 0, { requested: true }))
  expect(shown(session)).toBe("BRIDGE_DISCONNECT")
  expect(session.bridgeConnected).toBe(false)
  expect(tell(session, welcome("e", 9)).again).toBe(true)
  session.disconnected()
  const { barrier } = tell(session, welcome("e", 9, recovered(1)))
  tell(session, state(9), pong(barrier))
  expect(shown(session)).toBe("fresh")
  expect(session.lost).toBe(0)
})

test("what we were too slow for is counted and told, what happened to others is not", () => {
  const session = new Session()
  tell(session, welcome("e", 1))
  const error = (client_id: string, reason: string): Message => {
    const data = { client_id, reason, error_code: "", superseded: 4, lost: 2, from_seq: 1, to_seq: 9, timestamp: 0 }
    return { type: "connection_error", timestamp: AT, data }
  }
  expect(tell(session, error("me", "behind")).gap).toEqual({
    lost: 2,
    superseded: 4,
    fromSeq: 1,
    toSeq: 9,
    reason: "behind",
  })
  expect(tell(session, error("you", "behind")).gap).toBeUndefined()
  expect(tell(session, error("you", "buffer_full")).gap).toBeUndefined()
  expect([session.lost, session.superseded]).toEqual([2, 4])
})

test("a clock that is wrong does not make what is old look new: times are told by our own", () => {
  const session = new Session()
  const wrongMs = NOW_MS + 3_600_000
  session.receive(welcome("e", 1), wrongMs)
  session.receive({ ...heartbeat(true), timestamp: "2026-01-02T03:04:15.678Z" }, wrongMs + 10_020)
  session.receive(state(2), wrongMs)
  expect(session.store.topic("system.status").lastUpdate).toEqual(new Date(wrongMs))
})

test("however often a connection breaks, every log event is delivered once and in order, or counted as lost", () => {
  // a journal of log events that a gateway serves as docs/WEBSOCKET_PROTOCOL.md says, cut off after any message
  const lives = fc.array(fc.record({ grows: fc.nat(6), reads: fc.nat(12), forgets: fc.nat(3) }))
  fc.assert(
    fc.property(lives, (broken) => {
      const session = new Session()
      const delivered: number[] = []
      let head = 0
      let oldest = 1
      let start: number | undefined
      for (const { grows, reads, forgets } of [...broken, { grows: 1, reads: Infinity, forgets: 0 }]) {
        const at = session.position?.seq
        const from = Math.max(at ?? head, oldest - 1)
        const lost = from - (at ?? from)
        const resume = { requested: true, recovered: lost === 0, replayed: head - from, lost }
        const first = welcome("e", lost > 0 ? (at ?? head) : head, at === undefined ? {} : resume)
        head += grows
        const events = Array.from({ length: head - from }, (_, index) => log(from + 1 + index))
        for (const message of [first, ...events].slice(0, reads)) {
          const { deliver } = session.receive(message, NOW_MS)
          start ??= session.position?.seq
          if (deliver && message.seq !== undefined) delivered.push(message.seq)
        }
        session.disconnected()
        oldest = Math.min(head + 1, oldest + forgets)
      }
      expect(delivered).toEqual([...new Set(delivered)].sort((one, other) => one - other))
      expect(delivered.length + session.lost).toBe(head - (start ?? 0))
    }),
    { numRuns: 500 },
  )
})
