// A TCP relay before a program, which can be cut and mended: the network between a client and its gateway.
import { once } from "node:events"
import type { AddressInfo, Server, Socket } from "node:net"
import { connect, createServer } from "node:net"

export class Relay {
  readonly #server: Server
  readonly #sockets = new Set<Socket>()
  #isCut = false
  #isFrozen = false
  readonly #held: (() => void)[] = []
  /** Connections that were asked for. */
  asked = 0

  private constructor(server: Server) {
    this.#server = server
  }

  static async to(port: number): Promise<Relay> {
    const server = createServer()
    const relay = new Relay(server)
    server.on("connection", (near) => relay.#join(near, port))
    server.listen(0, "127.0.0.1")
    await once(server, "listening")
    return relay
  }

  get port(): number {
    return (this.#server.address() as AddressInfo).port
  }

  /** Every connection breaks, and new ones do so at once. */
  cut(): void {
    this.#isCut = true
    for (const socket of this.#sockets) socket.destroy()
  }

  mend(): void {
    this.#isCut = false
  }

  /** Nothing passes, nobody is told, and new connections wait. */
  freeze(): void {
    this.#isFrozen = true
  }

  thaw(): void {
    this.#isFrozen = false
    for (const pass of this.#held.splice(0)) pass()
  }

  async end(): Promise<void> {
    this.cut()
    this.#server.close()
    await once(this.#server, "close")
  }

  #join(near: Socket, port: number): void {
    this.asked += 1
    if (this.#isCut) {
      near.destroy()
      return
    }
    const far = connect(port, "127.0.0.1")
    for (const [socket, other] of [
      [near, far],
      [far, near],
    ] as const) {
      this.#sockets.add(socket)
      socket.on("data", (bytes) => {
        if (this.#isFrozen) this.#held.push(() => other.write(bytes))
        else other.write(bytes)
      })
      socket.on("error", () => other.destroy())
      socket.on("close", () => {
        this.#sockets.delete(socket)
        other.destroy()
      })
    }
  }
}
