import { describe, expect, test } from "vitest"

import { matcher, Tape } from "../src/tape"

const now = new Date(0)
const all = () => true

function recorded(capacity: number, ...types: string[]): Tape {
  const tape = new Tape(capacity)
  for (const type of types) tape.add({ type, timestamp: "", data: {} }, now)
  return tape
}

const numbers = (tape: Tape, upTo?: number) => tape.matching(all, upTo).map((entry) => entry.n)

describe("tape", () => {
  test("gives the newest first", () => {
    expect(numbers(recorded(5, "a", "b", "c"))).toEqual([3, 2, 1])
  })

  test("keeps the last and no more", () => {
    const tape = recorded(3, "a", "b", "c", "d", "e", "f", "g", "h")
    expect(tape.count).toBe(8)
    expect(numbers(tape)).toEqual([8, 7, 6])
  })

  test("holds still up to a number, for as long as it is kept", () => {
    const tape = recorded(3, "a", "b")
    tape.add({ type: "c", timestamp: "", data: {} }, now)
    expect(numbers(tape, 2)).toEqual([2, 1])
    tape.add({ type: "d", timestamp: "", data: {} }, now)
    expect(numbers(tape, 2)).toEqual([2])
  })

  test("is looked through by pattern", () => {
    const found = recorded(9, "agent.status", "agent.task.done", "agents", "notification").matching(matcher("agent.*"))
    expect(found.map((entry) => entry.message.type)).toEqual(["agent.task.done", "agent.status"])
  })
})

describe("matcher", () => {
  test.each([
    ["", "anything", true],
    ["*", "anything", true],
    [" agent.status , notification ", "notification", true],
    ["agent.status notification", "agent.status", true],
    ["agent.status", "agent.status.more", false],
    ["circuit_breaker.*", "circuit_breaker.open", true],
    ["circuit_breaker.*", "circuit_breaker", false],
  ])("%j matches %j: %j", (patterns, type, expected) => {
    expect(matcher(patterns)(type)).toBe(expected)
  })
})
