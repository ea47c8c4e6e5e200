import { act, cleanup, render, renderHook, screen, waitFor } from "@testing-library/react"
import { EventClient } from "engine-events-client"
import type { ReactNode } from "react"
import { Profiler, StrictMode, useEffect } from "react"
import { afterAll, afterEach, beforeAll, expect, test, vi } from "vitest"
import WebSocket from "ws"
import { Stack } from "../../client/test/kit/programs.js"
import {
  EngineEvents,
  useAgents,
  useCompression,
  useMessages,
  useNotifications,
  useStorage,
  useSystem,
  useWebSocket,
} from "../src/index.js"

let stack: Stack
beforeAll(async () => {
  stack = await Stack.start({ rate: 20 })
})
afterAll(() => stack.end())
afterEach(cleanup)

/** Waits, letting React render what comes meanwhile. */
const eventually = (isTrue: () => void) => waitFor(isTrue, { timeout: 15_000, interval: 20 })

/** How often each part of a page was rendered, by its name. */
function counter<N extends string>(...names: N[]) {
  const renders = Object.fromEntries(names.map((name) => [name, 0])) as Record<N, number>
  const count = (name: string) => (renders[name as N] += 1)
  const counted = (name: N, part: ReactNode) => (
    <Profiler id={name} onRender={count}>
      {part}
    </Profiler>
  )
  return { renders, counted }
}

function Provider({ children }: { children: ReactNode }) {
  return (
    <EngineEvents url={stack.url} WebSocket={WebSocket}>
      {children}
    </EngineEvents>
  )
}

test("each state has its hook, and all share one connection", async () => {
  const { result } = renderHook(
    () => ({
      system: useSystem(),
      storage: useStorage(),
      agents: useAgents(),
      compression: useCompression(),
      connection: useWebSocket(),
    }),
    { wrapper: Provider },
  )
  expect(result.current.system).toMatchObject({ data: undefined, stale: true, errorCode: "DISCONNECTED" })
  await eventually(() => {
    const { system, storage, agents, compression } = result.current
    expect([system.stale, storage.stale, agents.stale, compression.stale]).toEqual([false, false, false, false])
  })
  const { system, storage, agents, compression, connection } = result.current
  expect(system.data?.hostname).toBe("scripted")
  expect(system.connection).toBe("open")
  expect(system.lastUpdate).toBeInstanceOf(Date)
  expect(storage.data?.pools).toHaveLength(1)
  expect(agents.data?.total_agents).toBe(2)
  expect(compression.data?.total_jobs).toBe(0)
  expect(compression.jobs.size).toBe(0)
  expect(connection.subscriptions).toEqual([
    "agent.status",
    "compression.update",
    "heartbeat",
    "storage.update",
    "system.status",
  ])
  expect(connection.reconnects).toBe(0)
})

test("a component renders when what it uses has changed, and not for anything else", async () => {
  function Agents() {
    return <p>{useAgents().data?.total_agents}</p>
  }
  function Names() {
    return <p>{useAgents(({ data, stale }) => ({ count: data?.total_agents, stale })).count}</p>
  }
  function Cpu() {
    return <p>{useSystem(({ data }) => data?.cpu_usage)}</p>
  }
  function State() {
    return <p>{useWebSocket(({ state }) => state)}</p>
  }
  const client = new EventClient({ url: stack.url, WebSocket, types: ["notification"] })
  const { renders, counted } = counter("agents", "names", "cpu", "state")
  const updates = { "agent.status": 0, "system.status": 0, notification: 0 }
  for (const type of Object.keys(updates) as (keyof typeof updates)[]) {
    client.subscribe([type], () => (updates[type] += 1))
  }
  client.start()
  try {
    render(
      <EngineEvents client={client}>
        {counted("agents", <Agents />)}
        {counted("names", <Names />)}
        {counted("cpu", <Cpu />)}
        {counted("state", <State />)}
      </EngineEvents>,
    )
    await eventually(() => expect(updates["agent.status"]).toBeGreaterThan(5))
    expect(updates.notification).toBeGreaterThan(20)
    // each update of its topic, the mount, and "open"
    expect(renders.agents).toBeLessThanOrEqual(updates["agent.status"] + 3)
    expect(renders.agents).toBeGreaterThanOrEqual(updates["agent.status"])
    expect(renders.names).toBeLessThanOrEqual(3)
    expect(renders.cpu).toBeLessThanOrEqual(updates["system.status"] + 1)
    expect(renders.state).toBeLessThanOrEqual(3)
  } finally {
    client.close()
  }
})

test("notifications are kept while components come and go, the newest first, and are stale when nothing can come", async () => {
  const client = new EventClient({ url: stack.url, WebSocket, types: [] })
  const wrapper = ({ children }: { children: ReactNode }) => <EngineEvents client={client}>{children}</EngineEvents>
  client.start()
  try {
    const first = renderHook(() => useNotifications({ limit: 3 }), { wrapper })
    await eventually(() => expect(first.result.current.notifications).toHaveLength(3))
    const { notifications, data, stale, errorCode } = first.result.current
    expect(data).toBe(notifications)
    expect(stale).toBe(false)
    expect(errorCode).toBeUndefined()
    const [newest, older] = notifications.map((message) => Number(message.data.message.slice(2)))
    expect(newest).toBe((older ?? 0) + 1)
    first.unmount()
    const again = renderHook(() => useNotifications(), { wrapper })
    expect(again.result.current.notifications.length).toBeGreaterThanOrEqual(3)
    act(() => client.close())
    expect(again.result.current).toMatchObject({ stale: true, errorCode: "DISCONNECTED", connection: "closed" })
    expect(again.result.current.lastUpdate).toBeInstanceOf(Date)
  } finally {
    client.close()
  }
})

test("messages are heard without a render, by the listener of the last render", async () => {
  const { renders, counted } = counter("inspector")
  const heard: string[] = []
  function Inspector({ mark }: { mark: string }) {
    useMessages(["notification"], () => heard.push(mark))
    return null
  }
  const inspector = (mark: string) => counted("inspector", <Inspector mark={mark} />)
  const { rerender } = render(inspector("first"), { wrapper: Provider })
  await eventually(() => expect(heard.length).toBeGreaterThan(3))
  expect(renders.inspector).toBe(1)
  rerender(inspector("second"))
  await eventually(() => expect(heard).toContain("second"))
  expect(heard.lastIndexOf("first")).toBeLessThan(heard.indexOf("second"))
})

test("in strict mode, which mounts everything twice, there is one connection and it is closed at the end", async () => {
  const clients = new Set<EventClient>()
  function Cpu() {
    const own = useWebSocket(({ client }) => client)
    useEffect(() => {
      clients.add(own)
    }, [own])
    return <output>{String(useSystem().stale)}</output>
  }
  const { unmount } = render(
    <StrictMode>
      <Provider>
        <Cpu />
      </Provider>
    </StrictMode>,
  )
  await eventually(() => expect(screen.getByRole("status").textContent).toBe("false"))
  const [client] = [...clients].filter(({ status }) => status.state === "open")
  expect([...clients].filter(({ status }) => status.state !== "closed")).toEqual([client])
  unmount()
  expect(client?.status.state).toBe("closed")
})

test("without a provider the hooks use the page's own host", async () => {
  vi.stubGlobal("WebSocket", WebSocket)
  const { happyDOM } = window as Window & { happyDOM?: { setURL: (url: string) => void } }
  happyDOM?.setURL(`http://${stack.gateway.address}/dashboard`)
  const { result } = renderHook(() => ({ system: useSystem(), client: useWebSocket(({ client }) => client) }))
  await eventually(() => expect(result.current.system.stale).toBe(false))
  expect(result.current.client.status.url).toBe(stack.url)
  result.current.client.close()
  vi.unstubAllGlobals()
})
