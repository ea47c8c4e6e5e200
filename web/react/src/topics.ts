// The states: one hook for each topic.
import type {
  AgentStatus,
  CompressionJob,
  CompressionQueue,
  EventClient,
  StateData,
  StateType,
  StorageUpdate,
  SystemStatus,
  Topic,
} from "engine-events-client"
import { useMemo } from "react"
import { useClient } from "./provider.js"
import type { Select, View } from "./view.js"
import { both, useView } from "./view.js"

/** The compression queue, and every job by its id: jobs change more often than the queue. */
export interface CompressionView extends View<CompressionQueue> {
  readonly jobs: ReadonlyMap<string, Topic<CompressionJob>>
}

/** The engine's machine. With `select` the component renders only when what that gives has changed. */
export function useSystem(): View<SystemStatus>
export function useSystem<S>(select: Select<View<SystemStatus>, S>): S
export function useSystem<S>(select?: Select<View<SystemStatus>, S>): View<SystemStatus> | S {
  return useTopic("system.status", select)
}

/** The engine's storage pools. */
export function useStorage(): View<StorageUpdate>
export function useStorage<S>(select: Select<View<StorageUpdate>, S>): S
export function useStorage<S>(select?: Select<View<StorageUpdate>, S>): View<StorageUpdate> | S {
  return useTopic("storage.update", select)
}

/** The engine's agents. */
export function useAgents(): View<AgentStatus>
export function useAgents<S>(select: Select<View<AgentStatus>, S>): S
export function useAgents<S>(select?: Select<View<AgentStatus>, S>): View<AgentStatus> | S {
  return useTopic("agent.status", select)
}

/** The engine's compression jobs. */
export function useCompression(): CompressionView
export function useCompression<S>(select: Select<CompressionView, S>): S
export function useCompression<S>(select?: Select<CompressionView, S>): CompressionView | S {
  const client = useClient()
  const subscribe = useMemo(
    () =>
      both(
        (changed) => client.onTopic("compression.update", changed),
        (changed) => client.onJobs(changed),
        (changed) => client.onStatus(changed),
      ),
    [client],
  )
  return useView(client, subscribe, readCompression, select)
}

function useTopic<T extends StateType, S>(
  type: T,
  select: Select<View<StateData[T]>, S> | undefined,
): View<StateData[T]> | S {
  const client = useClient()
  const [subscribe, read] = useMemo(
    () => [
      both(
        (changed) => client.onTopic(type, changed),
        (changed) => client.onStatus(changed),
      ),
      (of: EventClient): View<StateData[T]> => ({ ...of.topic(type), connection: of.status.state }),
    ],
    [client, type],
  )
  return useView(client, subscribe, read, select)
}

function readCompression(client: EventClient): CompressionView {
  return { ...client.topic("compression.update"), connection: client.status.state, jobs: client.jobs() }
}
