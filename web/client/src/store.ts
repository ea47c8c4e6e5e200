// The latest of every state with its freshness: one for each topic, and one for each compression job. Pure.
import type { CompressionJob, CompressionQueue, FreshnessMarks, Message, StateData, StateType } from "./messages.js"
import { isStateType, STATE_TYPES } from "./messages.js"
import type { Said, StaleCode, Topic } from "./topic.js"
import { Held } from "./topic.js"

/** What changed: a topic, or the jobs. */
export type Change = StateType | "jobs"

/** A state as it is kept while no page is there. */
export interface SavedState {
  name: string
  said: Said
  mark: StaleCode | undefined
}

const JOB = "job "
const FINAL: readonly string[] = ["completed", "failed", "cancelled"]

export class StateStore {
  readonly #held = new Map<string, Held>()
  #absent: StaleCode = "DISCONNECTED"
  #noTopic: Topic<never> | undefined
  #jobs: ReadonlyMap<string, Topic<CompressionJob>> | undefined
  #changes = new Set<Change>()

  topic<T extends StateType>(type: T): Topic<StateData[T]> {
    const held = this.#held.get(type)
    if (held !== undefined) return held.topic as Topic<StateData[T]>
    return (this.#noTopic ??= { data: undefined, stale: true, lastUpdate: undefined, errorCode: this.#absent })
  }

  /** By job id, in the order in which they were first heard of. Another object whenever one changed. */
  jobs(): ReadonlyMap<string, Topic<CompressionJob>> {
    if (this.#jobs === undefined) {
      const jobs = [...this.#held].filter(([name]) => name.startsWith(JOB))
      this.#jobs = new Map(jobs.map(([name, held]) => [name.slice(JOB.length), held.topic as Topic<CompressionJob>]))
    }
    return this.#jobs
  }

  /** What has changed since this was last asked. */
  changes(): Iterable<Change> {
    const changes = this.#changes
    this.#changes = new Set()
    return changes
  }

  /** Takes a state's message in; whatever else it is, is ignored. `offsetMs`: our clock less the server's. */
  take(message: Message, epoch: string | undefined, offsetMs: number): void {
    if (!isStateType(message.type)) return
    const { stale, error_code, last_update, ...data } = message.data as FreshnessMarks & Record<string, unknown>
    const at = Date.parse(stale ? (last_update ?? "") : message.timestamp) + offsetMs
    const { seq } = message
    const said: Said = {
      data,
      epoch: seq === undefined ? undefined : epoch,
      seq,
      stale,
      errorCode: stale ? error_code : undefined,
      lastUpdateMs: Number.isNaN(at) ? undefined : at,
    }
    const isJob = typeof data.job_id === "string"
    const name = isJob ? `${JOB}${data.job_id as string}` : message.type
    const held = this.#held.get(name)
    if (held === undefined) this.#held.set(name, new Held(said))
    else if (!held.take(said)) return
    this.#changed(name)
    if (!isJob && message.type === "compression.update" && !stale)
      this.#forgetEnded(data as unknown as CompressionQueue)
  }

  /** Our connection is gone: nothing is known to be fresh. */
  goAway(): void {
    this.#setAbsent("DISCONNECTED")
    this.#each((held) => {
      held.setAway(true)
    })
  }

  /** Connected, but nothing has been told yet. */
  connect(): void {
    this.#setAbsent("NO_DATA")
  }

  /** Everything that changed while we were away has been told: the rest is as it was. */
  confirm(): void {
    this.#each((held) => {
      held.setAway(false)
    })
  }

  /** A new journal, or one that we could not follow: what its snapshot does not tell again nobody vouches for. */
  doubt(): void {
    this.#each((held) => {
      held.setAway(false)
      held.setMark("UNCONFIRMED")
    })
  }

  /** Everything there is has been told: jobs that were not are no more. */
  forgetUnconfirmedJobs(): void {
    this.#forget((held) => held.mark === "UNCONFIRMED")
  }

  /** The gateway has not reached its bridge: it knows nothing. */
  markBridgeAway(): void {
    this.#each((held) => {
      held.setAway(false)
      if (held.mark === undefined) held.setMark("BRIDGE_DISCONNECT")
    })
  }

  /** What is not told any more grows old; what is told again was not while nobody asked. */
  markTypes(isTold: (type: StateType) => boolean): void {
    this.#each((held, type) => {
      if (!isTold(type)) held.setMark("NOT_SUBSCRIBED")
      else if (held.mark === "NOT_SUBSCRIBED") held.setMark("UNCONFIRMED")
    })
  }

  /** The gateway has its bridge: what it marked and did not change is as the bridge last said in this journal. */
  unmark(epoch: string): void {
    this.#each((held) => {
      if (held.mark === "BRIDGE_DISCONNECT" && held.said.epoch === epoch) held.setMark(undefined)
    })
  }

  /** Whether something of this type is missing, or stands under a mark. */
  isUnsettled(type: StateType): boolean {
    if (!this.#held.has(type)) return true
    return [...this.#held].some(([name, held]) => typeOf(name) === type && held.mark !== undefined)
  }

  save(): SavedState[] {
    return [...this.#held].map(([name, { said, mark }]) => ({ name, said, mark }))
  }

  /** What an earlier page knew: stale until the gateway has said what changed since. */
  restore(states: Iterable<SavedState>): void {
    for (const { name, said, mark } of states) {
      const held = new Held(said)
      held.setMark(mark)
      held.setAway(true)
      this.#held.set(name, held)
      this.#changed(name)
    }
  }

  /** Jobs that ended and that the engine no longer lists: an engine that runs for months has had very many. */
  #forgetEnded(queue: CompressionQueue): void {
    const listed = new Set(queue.jobs.map((job) => job.job_id))
    const asOf = queue.timestamp ?? 0
    this.#forget(({ said }) => {
      const job = said.data as CompressionJob
      return FINAL.includes(job.status) && !listed.has(job.job_id) && (job.timestamp ?? 0) < asOf
    })
  }

  #forget(which: (held: Held) => boolean): void {
    for (const [name, held] of this.#held) {
      if (!name.startsWith(JOB) || !which(held)) continue
      this.#held.delete(name)
      this.#changed(name)
    }
  }

  #each(act: (held: Held, type: StateType) => void): void {
    for (const [name, held] of this.#held) {
      const before = held.topic
      act(held, typeOf(name))
      if (held.topic !== before) this.#changed(name)
    }
  }

  #setAbsent(code: StaleCode): void {
    if (code === this.#absent) return
    this.#absent = code
    this.#noTopic = undefined
    for (const type of STATE_TYPES) {
      if (!this.#held.has(type)) this.#changes.add(type)
    }
  }

  #changed(name: string): void {
    if (name.startsWith(JOB)) {
      this.#jobs = undefined
      this.#changes.add("jobs")
    } else this.#changes.add(name as StateType)
  }
}

function typeOf(name: string): StateType {
  return name.startsWith(JOB) ? "compression.update" : (name as StateType)
}
