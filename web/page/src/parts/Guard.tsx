/** Keeps the mistake of one panel from taking the page with it: the others go on, and its place says what happened. */
import { Component, type ReactNode } from "react"

interface Props {
  /** The panel's place in the grid. */
  name: string
  children: ReactNode
}

export class Guard extends Component<Props, { error?: Error }> {
  override state: { error?: Error } = {}

  static getDerivedStateFromError(error: Error): { error: Error } {
    return { error }
  }

  override render(): ReactNode {
    if (this.state.error === undefined) return this.props.children
    return (
      <section className={`panel ${this.props.name}`} role="alert">
        <p>This part of the page failed and cannot be shown: {this.state.error.message}</p>
      </section>
    )
  }
}
