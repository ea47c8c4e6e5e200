// The words of the wire: messages, their types, and what each type's data is. Types only, but for what tells them apart.
import type {
  AgentStatus,
  CircuitBreaker,
  CompressionQueue,
  ConnectionError,
  Heartbeat,
  Notification,
  RequestError,
  RpcError,
  StorageUpdate,
  Subscriptions,
  SystemStatus,
} from "./generated/messages.js"

export type * from "./generated/messages.js"
export type {
  CircuitBreaker as BreakerEvent,
  ConnectionError as ConnectionErrorData,
  StoragePool as Pool,
} from "./generated/messages.js"

/** One message from the gateway. */
export interface Message<D = unknown> {
  type: string
  /** RFC 3339, UTC: when the bridge published the event, or when the gateway made the message. */
  timestamp: string
  /** Number in the bridge's journal. Absent: not from the journal. */
  seq?: number
  /** Sent because we had just connected or subscribed; its number may lie before those seen. */
  snapshot?: boolean
  /** On an answer: which request it answers. */
  id?: string | number
  data: D
}

/** What the data of every state has beside its own fields. */
export interface FreshnessMarks {
  stale: boolean
  /** Why it is stale. Absent: fresh. */
  error_code?: string
  /** When it was last fresh, RFC 3339. Absent: fresh. */
  last_update?: string | null
}

/** The types of which the store keeps the latest, and the data of each. */
export interface StateData {
  "system.status": SystemStatus
  "storage.update": StorageUpdate
  "agent.status": AgentStatus
  "compression.update": CompressionQueue
}
export type StateType = keyof StateData

/** The data of the other core types. */
export interface LogData {
  notification: Notification | Welcome
  rpc_error: RpcError
  connection_error: ConnectionError
  "circuit_breaker.open": CircuitBreaker
  "circuit_breaker.half_open": CircuitBreaker
  "circuit_breaker.closed": CircuitBreaker
  heartbeat: Heartbeat
  error: RequestError
  subscribe: Subscriptions
  unsubscribe: Subscriptions
}

/** The data of the notification that begins every connection, and comes again when the bridge has a new journal. */
export interface Welcome {
  message: string
  level: "info" | "warning"
  client_id: string
  subscriptions: string[]
  /** The journal's epoch. Empty: the gateway has not reached a bridge yet. */
  epoch: string
  /** Where we stand in it. */
  seq: number
  resume: { requested: boolean; recovered: boolean; replayed: number; superseded: number; lost: number }
  /** A heartbeat comes this often, seconds. */
  heartbeat_s: number
}

/** What the gateway subscribes a client to that names nothing. */
export const DEFAULT_TYPES: readonly string[] = [
  "system.status",
  "storage.update",
  "agent.status",
  "compression.update",
  "notification",
  "rpc_error",
  "connection_error",
  "heartbeat",
]

export const STATE_TYPES: readonly StateType[] = [
  "system.status",
  "storage.update",
  "agent.status",
  "compression.update",
]

export function isStateType(type: string): type is StateType {
  return (STATE_TYPES as readonly string[]).includes(type)
}

export function isWelcome(message: Message): message is Message<Welcome> {
  if (message.type !== "notification" || message.seq !== undefined) return false
  return typeof (message.data as Partial<Welcome>).client_id === "string"
}

/** A message's text as a message. Undefined: it is none. */
export function parseMessage(text: unknown): Message | undefined {
  if (typeof text !== "string") return undefined
  let value: unknown
  try {
    value = JSON.parse(text)
  } catch {
    return undefined
  }
  const message = value as Partial<Message<object | null>> | null
  const ok = typeof message?.type === "string" && typeof message.data === "object" && message.data !== null
  return ok ? (message as Message) : undefined
}
