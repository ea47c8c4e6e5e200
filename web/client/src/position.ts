// Where we stand in the bridge's journal, and what a welcome says about what was missed. Pure.
import type { Welcome } from "./messages.js"

/** Everything up to and including `seq` of the journal `epoch` has been received. */
export interface Position {
  readonly epoch: string
  readonly seq: number
}

/** Events that will never come. */
export interface Gap {
  /** Log events that are gone. With reason `epoch` those of the old journal are not counted: nobody knows. */
  lost: number
  /** States that were replaced by later ones before they could be sent. */
  superseded: number
  /** They lay after this number … */
  fromSeq?: number
  /** … and not after this one. */
  toSeq?: number
  /** Missed while away; missed while here, reading too slowly or the gateway being without its bridge; another journal. */
  reason: "resume" | "behind" | "epoch"
}

export interface Arrival {
  /** Undefined: no bridge has ever been reached. */
  position: Position | undefined
  gap?: Gap
  /** The gateway went on from another place than ours, which it could not know: connect again with our position. */
  again: boolean
}

/** Where a welcome leaves us. `isFirst`: it began this connection. */
export function welcomed(before: Position | undefined, welcome: Welcome, isFirst: boolean): Arrival {
  const { epoch, seq, resume } = welcome
  if (epoch === "") return { position: before, again: false } // it will say where it stands when it knows
  if (before === undefined) return { position: { epoch, seq }, again: false }
  const { lost, superseded } = resume
  if (before.epoch !== epoch) {
    return { position: { epoch, seq }, gap: { lost, superseded, reason: "epoch" }, again: false }
  }
  if (!isFirst && !resume.recovered && seq > before.seq) return { position: before, again: true }
  // While events are still to be replayed we stand where we stood. A gateway that has copied less of the journal than
  // we have read begins before that.
  const position = resume.replayed > 0 ? before : { epoch, seq: Math.max(seq, before.seq) }
  if (lost === 0 && superseded === 0) return { position, again: false }
  return { position, gap: { lost, superseded, fromSeq: before.seq, reason: "resume" }, again: false }
}
