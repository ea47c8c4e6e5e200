import { expect, test } from "vitest"
import { covers, isPattern, matches } from "../src/patterns.js"

test("types, * and types followed by .* can be subscribed to", () => {
  for (const text of ["a", "a.b_2", "a.*", "a.b.*", "*"]) expect(isPattern(text)).toBe(true)
  for (const text of ["", "A", ".a", "a.", "a..b", "*.a", "a*", "**", "a.*.b", "a.*.*", "é"]) {
    expect(isPattern(text)).toBe(false)
  }
})

test("a pattern means what lies below it, not what only begins like it, nor itself", () => {
  expect(matches("agent.*", "agent.status")).toBe(true)
  expect(matches("agent.*", "agent.task.done")).toBe(true)
  expect(matches("agent.*", "agent")).toBe(false)
  expect(matches("agent.*", "agents.status")).toBe(false)
  expect(matches("agent.status", "agent.status")).toBe(true)
  expect(matches("*", "anything")).toBe(true)
  expect(covers(["a", "b.*"], "b.c")).toBe(true)
  expect(covers([], "a")).toBe(false)
})
