import { describe, expect, test } from "vitest"

import { History } from "../src/history"

function fed(...samples: [number, number][]): History {
  const history = new History({ columns: 1, spanS: 60, maxSamples: 100 })
  for (const [at, value] of samples) history.add(at, [value])
  return history
}

describe("history", () => {
  test("keeps samples in order, and what is not known as a gap", () => {
    const history = new History({ columns: 2, spanS: 60, maxSamples: 100 })
    history.add(1, [10, null])
    history.add(2, [20, 0.5])
    expect(history.data()).toEqual([
      [1, 2],
      [10, 20],
      [null, 0.5],
    ])
  })

  test("never draws a line over a silence", () => {
    const history = fed([1, 10], [2, 20])
    history.silence(4)
    history.add(9, [30])
    expect(history.data()).toEqual([
      [1, 2, 5.5, 9],
      [10, 20, null, 30],
    ])
  })

  test("counts a silence from the last sample, until the next", () => {
    const history = fed([1, 10], [2, 20])
    history.silence(4)
    expect(history.bands()).toEqual([{ from: 2, to: undefined }])
    history.silence(5) // told again: nothing new
    history.add(9, [30])
    expect(history.bands()).toEqual([{ from: 2, to: 9 }])
  })

  test("a pause far longer than usual is a gap, though nobody called it stale", () => {
    const history = fed([1, 1], [2, 1], [3, 1], [4, 1], [20, 1])
    expect(history.data()).toEqual([
      [1, 2, 3, 4, 12, 20],
      [1, 1, 1, 1, null, 1],
    ])
  })

  test("a pause a little longer than usual is none", () => {
    expect(fed([1, 1], [2, 1], [3, 1], [4, 1], [6.5, 1]).data()[0]).toEqual([1, 2, 3, 4, 6.5])
  })

  test("forgets what left the window, but for the sample at its edge", () => {
    const history = fed([1, 1], [2, 2], [3, 3], [4, 4])
    history.silence(5)
    history.add(63.5, [5])
    expect(history.data()[0]).toEqual([3, 4, 33.75, 63.5])
    history.add(125, [6])
    expect(history.data()[0]).toEqual([63.5, 125])
    expect(history.bands()).toEqual([])
  })

  test("is bounded however often it is fed", () => {
    const history = fed()
    for (let n = 0; n < 1000; n += 1) history.add(n / 1000, [n])
    expect(history.data()[0]).toHaveLength(100)
    expect(history.data()[1]?.at(-1)).toBe(999)
  })

  test("takes nothing from the past, so that times stay in order", () => {
    expect(fed([5, 1], [5, 2], [4, 3]).data()).toEqual([[5], [1]])
  })

  test("tells whoever draws of every change, until they have had enough", () => {
    const history = fed()
    let calls = 0
    const end = history.onChange(() => (calls += 1))
    history.add(1, [1])
    history.silence(2)
    end()
    history.add(3, [1])
    expect(calls).toBe(2)
  })

  test("is shown from its first sample on: a minute at least, its whole span at most", () => {
    const history = new History({ columns: 1, spanS: 300, maxSamples: 100 })
    expect(history.windowS(1000)).toBe(60)
    history.add(1000, [1])
    expect(history.windowS(1010)).toBe(60)
    expect(history.windowS(1100)).toBe(100)
    expect(history.windowS(5000)).toBe(300)
  })

  test("sums a column up", () => {
    const history = fed([1, 10], [2, 5], [3, 20])
    expect(history.summary(0)).toEqual({ low: 5, high: 20, last: 20 })
    expect(fed().summary(0)).toBeUndefined()
  })
})
