import { describe, expect, test } from "vitest"

import { bytes, clock, count, duration, percent, UNKNOWN } from "../src/format"
import { why } from "../src/words"

describe("format", () => {
  test.each([
    [0, "0 B"],
    [999, "999 B"],
    [1000, "0.98 KiB"],
    [1536, "1.50 KiB"],
    [25_276_502_016, "23.5 GiB"],
    [1023 * 1024, "1.00 MiB"],
    [2 ** 70, "1048576 PiB"],
  ])("bytes(%j) is %j", (size, text) => expect(bytes(size)).toBe(text))

  test.each([
    [0.4, "0 s"],
    [75, "1 min 15 s"],
    [3600, "1 h 0 min"],
    [93_784, "1 d 2 h"],
    [-3, "0 s"],
  ])("duration(%j) is %j", (seconds, text) => expect(duration(seconds)).toBe(text))

  test("the time of day has two digits each", () => {
    expect(clock(new Date(2026, 0, 2, 3, 4, 5))).toBe("03:04:05")
  })

  test("what is not known is a dash, never a zero", () => {
    for (const text of [
      bytes(null),
      percent(undefined),
      duration(null),
      count(null),
      clock(undefined),
      clock(new Date("x")),
    ]) {
      expect(text).toBe(UNKNOWN)
    }
  })

  test("an unknown code is shown as it is", () => {
    expect(why("RPC_DISCONNECT")).toBe("the engine does not answer")
    expect(why("SOMETHING_NEW")).toBe("SOMETHING_NEW")
  })
})
