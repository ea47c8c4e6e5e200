import fc from "fast-check"
import { expect, test } from "vitest"
import type { Welcome } from "../src/index.js"
import { welcomed } from "../src/position.js"

function welcome(epoch: string, seq: number, resume: Partial<Welcome["resume"]> = {}): Welcome {
  const none = { requested: false, recovered: false, replayed: 0, superseded: 0, lost: 0 }
  const rest = { message: "connected", level: "info" as const, client_id: "c", subscriptions: [], heartbeat_s: 30 }
  return { ...rest, epoch, seq, resume: { ...none, ...resume } }
}

test("the first welcome is where we begin", () => {
  expect(welcomed(undefined, welcome("e", 7), true)).toEqual({ position: { epoch: "e", seq: 7 }, again: false })
})

test("while events are still to be replayed we stand where we stood", () => {
  const before = { epoch: "e", seq: 3 }
  const resume = { requested: true, recovered: true }
  expect(welcomed(before, welcome("e", 9, { ...resume, replayed: 4 }), true).position).toEqual(before)
  expect(welcomed(before, welcome("e", 9, resume), true).position).toEqual({ epoch: "e", seq: 9 })
})

test("what was lost or superseded is a gap, and begins where we stood", () => {
  const resume = { requested: true, replayed: 2, lost: 5, superseded: 1 }
  expect(welcomed({ epoch: "e", seq: 3 }, welcome("e", 3, resume), true)).toEqual({
    position: { epoch: "e", seq: 3 },
    gap: { lost: 5, superseded: 1, fromSeq: 3, reason: "resume" },
    again: false,
  })
})

test("another epoch is a gap of unknown size", () => {
  for (const isFirst of [true, false]) {
    const { position, gap } = welcomed({ epoch: "e", seq: 3 }, welcome("f", 0, { replayed: 8 }), isFirst)
    expect(position).toEqual({ epoch: "f", seq: 0 })
    expect(gap?.reason).toBe("epoch")
  }
})

test("a gateway that does not know its bridge yet takes no position away", () => {
  const before = { epoch: "e", seq: 3 }
  expect(welcomed(before, welcome("", 0), true)).toEqual({ position: before, again: false })
  expect(welcomed(undefined, welcome("", 0), true).position).toBeUndefined()
})

test("when it then begins at the end of the journal that we had, we come again with our position", () => {
  const before = { epoch: "e", seq: 3 }
  expect(welcomed(before, welcome("e", 9), false)).toEqual({ position: before, again: true })
  expect(welcomed(before, welcome("e", 3), false)).toEqual({ position: before, again: false })
})

test("within an epoch a position never goes back", () => {
  const counts = fc.record({
    requested: fc.boolean(),
    recovered: fc.boolean(),
    replayed: fc.nat(5),
    superseded: fc.nat(5),
    lost: fc.nat(5),
  })
  fc.assert(
    fc.property(fc.nat(100), fc.nat(100), counts, fc.boolean(), (had, seq, resume, isFirst) => {
      const { position } = welcomed({ epoch: "e", seq: had }, welcome("e", seq, resume), isFirst)
      expect(position?.seq).toBeGreaterThanOrEqual(had)
    }),
  )
})
