// Waiting for something to become true, with a deadline. A state that can only be asked for is asked often.

const ASK_EVERY_MS = 20

/** Fails with `what` when it has not become true in time. */
export async function within(limitMs: number, what: string, isTrue: () => boolean | Promise<boolean>): Promise<void> {
  const deadlineMs = Date.now() + limitMs
  while (!(await isTrue())) {
    if (Date.now() > deadlineMs) throw new Error(`not within ${limitMs} ms: ${what}`)
    await new Promise((resolve) => setTimeout(resolve, ASK_EVERY_MS))
  }
}
