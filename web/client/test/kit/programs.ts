// The real programs of the repository as child processes on ports of their own, to be killed, frozen and restarted.
import type { ChildProcess } from "node:child_process"
import { spawn } from "node:child_process"
import { once } from "node:events"
import { closeSync, mkdtempSync, openSync, readFileSync, rmSync } from "node:fs"
import { get } from "node:http"
import { connect, createServer } from "node:net"
import { tmpdir } from "node:os"
import { join } from "node:path"
import { Relay } from "./relay.js"
import { within } from "./waiting.js"

export const REPOSITORY = join(import.meta.dirname, "../../../..")
export const PYTHON = process.env.ENGINE_EVENTS_PYTHON ?? join(REPOSITORY, ".venv/bin/python")
/** Below the range from which the kernel takes ports for outgoing connections, and beside that of tests/kit. */
const PORTS = { first: 13_000, count: 6_000 }

async function freePort(): Promise<number> {
  for (;;) {
    const port = PORTS.first + Math.floor(Math.random() * PORTS.count)
    const server = createServer()
    const isFree = await new Promise<boolean>((resolve) => {
      server.once("error", () => resolve(false))
      server.listen(port, "127.0.0.1", () => server.close(() => resolve(true)))
    })
    if (isFree) return port
  }
}

async function isListening(port: number): Promise<boolean> {
  const socket = connect(port, "127.0.0.1")
  try {
    await once(socket, "connect")
    return true
  } catch {
    return false
  } finally {
    socket.destroy()
  }
}

export class Program {
  readonly #module: string
  readonly #arguments: (port: number) => string[]
  readonly #log: string
  #process: ChildProcess | undefined
  #ended: Promise<unknown> = Promise.resolve()

  constructor(
    module: string,
    readonly port: number,
    readonly settings: Record<string, string>,
    directory: string,
    args: (port: number) => string[] = () => [],
  ) {
    this.#module = module
    this.#arguments = args
    this.#log = join(directory, `${module}.stderr`)
  }

  get address(): string {
    return `127.0.0.1:${this.port}`
  }

  /** Starts it and waits until it listens. */
  async start(): Promise<void> {
    const log = openSync(this.#log, "a")
    const child = spawn(PYTHON, ["-m", this.#module, ...this.#arguments(this.port)], {
      cwd: REPOSITORY,
      env: { ...process.env, ...this.settings },
      stdio: ["ignore", log, log],
    })
    closeSync(log)
    this.#process = child
    this.#ended = once(child, "exit")
    await within(20_000, `${this.#module} listens`, async () => {
      if (child.exitCode !== null) throw new Error(`${this.#module} ended:\n${readFileSync(this.#log, "utf8")}`)
      return await isListening(this.port)
    })
  }

  /** Ends it and waits until it has ended. */
  async end(signal: "SIGKILL" | "SIGTERM" = "SIGKILL"): Promise<void> {
    this.signal(signal)
    if (signal === "SIGKILL") this.signal("SIGCONT")
    await this.#ended
  }

  signal(signal: NodeJS.Signals): void {
    this.#process?.kill(signal)
  }
}

export interface StackOptions {
  /** The scripted engine, which publishes the notifications n=1, n=2 … `rate` times a second; or this machine. */
  engine?: "scripted" | "host"
  rate?: number
  pollS?: number
  gateway?: Record<string, string>
}

/** An engine, a bridge and a gateway with a heartbeat each second. */
export class Stack {
  private constructor(
    readonly engine: Program,
    readonly bridge: Program,
    readonly gateway: Program,
    /** Between gateway and bridge. */
    readonly bridgeLink: Relay,
    readonly directory: string,
  ) {}

  static async start(options: StackOptions = {}): Promise<Stack> {
    const directory = mkdtempSync(join(tmpdir(), "engine-events-client-"))
    const [enginePort, bridgePort, gatewayPort] = [await freePort(), await freePort(), await freePort()]
    const quiet = { PYTHONUNBUFFERED: "1" }
    const engine =
      options.engine === "host"
        ? new Program(
            "host_engine",
            enginePort,
            { ...quiet, HOST_ENGINE_LISTEN: `127.0.0.1:${enginePort}`, HOST_ENGINE_ROOT: directory },
            directory,
          )
        : new Program("tests.kit.scripted_engine", enginePort, quiet, directory, (port) => [
            "--listen",
            `127.0.0.1:${port}`,
            "--rate",
            String(options.rate ?? 0),
          ])
    const bridgeSettings = {
      ...quiet,
      ENGINE_BRIDGE_LISTEN: `127.0.0.1:${bridgePort}`,
      ENGINE_BRIDGE_ENGINE: `grpc://${engine.address}`,
      ENGINE_BRIDGE_POLL_S: String(options.pollS ?? 0.5),
    }
    const bridge = new Program("engine_bridge", bridgePort, bridgeSettings, directory)
    const bridgeLink = await Relay.to(bridgePort)
    const gatewaySettings = {
      ...quiet,
      WS_GATEWAY_LISTEN: `127.0.0.1:${gatewayPort}`,
      WS_GATEWAY_BRIDGE: `grpc://127.0.0.1:${bridgeLink.port}`,
      WS_GATEWAY_HEARTBEAT_S: "1",
      ...options.gateway,
    }
    const gateway = new Program("ws_gateway", gatewayPort, gatewaySettings, directory)
    const stack = new Stack(engine, bridge, gateway, bridgeLink, directory)
    try {
      await Promise.all([engine.start(), bridge.start(), gateway.start()])
      await within(20_000, "the gateway is ready", () => stack.isReady())
    } catch (error) {
      await stack.end() // or those that did start would outlive the tests
      throw error
    }
    return stack
  }

  get url(): string {
    return `ws://${this.gateway.address}/ws`
  }

  /** Whether the gateway has its bridge and everything is fresh. */
  async isReady(): Promise<boolean> {
    return await new Promise((resolve) => {
      get(`http://${this.gateway.address}/readyz`, (response) => {
        response.resume()
        resolve(response.statusCode === 200)
      }).on("error", () => resolve(false))
    })
  }

  async end(): Promise<void> {
    await Promise.all([this.gateway.end(), this.bridge.end(), this.engine.end()])
    await this.bridgeLink.end()
    rmSync(this.directory, { recursive: true, force: true })
  }
}
