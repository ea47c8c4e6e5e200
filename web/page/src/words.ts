/** The codes of the wire in words for people. An unknown code is shown as it is. */

const WHY: Record<string, string> = {
  RPC_DISCONNECT: "the engine does not answer",
  CIRCUIT_BREAKER_OPEN: "the engine keeps failing",
  BRIDGE_DISCONNECT: "the gateway has lost the bridge",
  DISCONNECTED: "this page has lost the gateway",
  UNCONFIRMED: "connected again, but nobody has confirmed this yet",
  NOT_SUBSCRIBED: "this page does not ask for it any more",
  NO_DATA: "nothing has come yet",
}

/** Why a state is stale, by its `error_code`. */
export function why(errorCode: string | undefined): string {
  if (errorCode === undefined || errorCode === "") return "nobody has said why"
  return WHY[errorCode] ?? errorCode
}

const NAMES: Record<string, string> = {
  "system.status": "System",
  "storage.update": "Storage",
  "agent.status": "Agents",
  "compression.update": "Compression",
}

/** What a topic is called on the page. */
export function nameOf(topic: string): string {
  return NAMES[topic] ?? topic
}

/** `compress_file` → "compress file". */
export function plain(word: string | null | undefined): string {
  return word ? word.replaceAll("_", " ") : ""
}
