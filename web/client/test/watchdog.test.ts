import fc from "fast-check"
import { expect, test } from "vitest"
import { Watchdog } from "../src/watchdog.js"

/** Looks when it is due, until it has something to say. */
function next(dog: Watchdog): { verdict: string; atMs: number } {
  for (;;) {
    const atMs = dog.nextLookMs()
    const verdict = dog.look(atMs)
    if (verdict !== "fine") return { verdict, atMs }
  }
}

test("ten seconds of silence are asked about, and four more are the end", () => {
  const dog = new Watchdog()
  dog.begin(0, 30)
  expect(next(dog)).toEqual({ verdict: "ping", atMs: 10_000 })
  expect(next(dog)).toEqual({ verdict: "dead", atMs: 14_000 })
})

test("a heartbeat that comes more often is missed sooner", () => {
  const dog = new Watchdog()
  dog.begin(0, 4)
  expect(next(dog)).toEqual({ verdict: "ping", atMs: 5_000 })
})

test("an answer is the end of the question", () => {
  const dog = new Watchdog()
  dog.begin(0, 30)
  next(dog)
  dog.heard(13_999, true)
  expect(next(dog)).toEqual({ verdict: "ping", atMs: 23_999 })
})

test("what was on its way when the connection died is no answer, but while something comes there is time", () => {
  const dog = new Watchdog()
  dog.begin(0, 30)
  dog.suspect(1_000)
  dog.heard(1_010, false)
  dog.heard(2_500, false)
  expect(next(dog)).toEqual({ verdict: "dead", atMs: 4_500 })
})

test("who slept through the time asks again before giving up", () => {
  const dog = new Watchdog()
  dog.begin(0, 30)
  next(dog)
  dog.nextLookMs()
  expect(dog.look(3_600_000)).toBe("ping")
  expect(next(dog)).toEqual({ verdict: "dead", atMs: 3_602_000 })
})

test("a suspicion is settled within two seconds", () => {
  const dog = new Watchdog()
  dog.begin(0, 30)
  expect(dog.suspect(1_000)).toBe("ping")
  expect(next(dog)).toEqual({ verdict: "dead", atMs: 3_000 })
})

test("a connection on which something is heard every ten seconds never dies, however late it is looked at", () => {
  fc.assert(
    fc.property(fc.array(fc.tuple(fc.integer({ min: 1, max: 9_999 }), fc.boolean()), { maxLength: 50 }), (pauses) => {
      const dog = new Watchdog()
      let nowMs = 0
      dog.begin(nowMs, 30)
      for (const [pauseMs, isAnswer] of pauses) {
        if (dog.nextLookMs() <= nowMs + pauseMs) expect(dog.look(nowMs + pauseMs)).not.toBe("dead")
        nowMs += pauseMs
        dog.heard(nowMs, isAnswer)
      }
    }),
  )
})
