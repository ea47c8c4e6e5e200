import { expect, test } from "vitest"
import { expiryMs, refreshInMs } from "../src/token.js"

const jwt = (payload: string) => `e30.${Buffer.from(payload).toString("base64url")}.c2ln`

test("a JWT says when it expires, other tokens do not", () => {
  expect(expiryMs(jwt('{"exp":1700000000,"name":"ÿ?~"}'))).toBe(1_700_000_000_000)
  for (const token of ["", "static", "a.b.c", jwt("{}"), jwt("null"), jwt('{"exp":"soon"}'), jwt("not json")]) {
    expect(expiryMs(token)).toBeUndefined()
  }
})

test("a new one is fetched thirty seconds before the end, or at half of a life shorter than a minute", () => {
  expect(refreshInMs(3_600_000, 0)).toBe(3_570_000)
  expect(refreshInMs(60_000, 0)).toBe(30_000)
  expect(refreshInMs(10_000, 0)).toBe(5_000)
  expect(refreshInMs(0, 10_000)).toBe(0)
})
