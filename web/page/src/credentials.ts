/** The token, where the gateway asks for one: kept for this tab, never in the URL, never longer. */

const KEY = "engine-events.token"
let here: string | undefined

/** The token; undefined: nobody has given one. */
export function readToken(): string | undefined {
  try {
    return sessionStorage.getItem(KEY) ?? here
  } catch {
    return here // storage is forbidden here: it lasts as long as the page
  }
}

export function keepToken(token: string): void {
  here = token
  try {
    sessionStorage.setItem(KEY, token)
  } catch {
    // as above
  }
}

/** Whether the gateway wants credentials and we have none. Asked over plain HTTP: a socket would wait for some seconds. */
export async function mustAsk(): Promise<boolean> {
  if (readToken() !== undefined) return false
  try {
    return (await fetch(new URL("api/v1/status", document.baseURI), { cache: "no-store" })).status === 401
  } catch {
    return false // it cannot be reached; the page says so
  }
}
