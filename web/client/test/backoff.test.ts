import fc from "fast-check"
import { expect, test } from "vitest"
import { backoffMs, comesBack, wishedMs } from "../src/backoff.js"

test("a wait is anything from nothing to a ceiling that doubles up to 5 s", () => {
  expect([0, 1, 2, 3, 4, 5, 1000].map((failures) => backoffMs(failures, 1))).toEqual([
    500, 1000, 2000, 4000, 5000, 5000, 5000,
  ])
  fc.assert(
    fc.property(fc.nat(), fc.double({ min: 0, max: 1, noNaN: true }), (failures, random) => {
      const waitMs = backoffMs(failures, random)
      expect(waitMs).toBe(random * backoffMs(failures, 1))
    }),
  )
})

test("the gateway's wish is read from its close reason, and nothing else is", () => {
  expect(wishedMs("retry_after_ms=1234")).toBe(1234)
  expect(wishedMs("restarting; retry_after_ms=0")).toBe(0)
  expect(wishedMs("retry_after_ms=999999999")).toBe(300_000)
  for (const other of ["", "retry_after_ms=", "retry_after_ms=-1", "xretry_after_ms=5", "retry_after_ms=12345678901"]) {
    expect(wishedMs(other)).toBeUndefined()
  }
})

test("45xx does not come back, everything else does", () => {
  for (const code of [1000, 1001, 1006, 1011, 1012, 4000, 4403, 4408, 4429, 4499, 4600]) {
    expect(comesBack(code)).toBe(true)
  }
  for (const code of [4500, 4501, 4503, 4599]) expect(comesBack(code)).toBe(false)
})
