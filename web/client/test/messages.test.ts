// Real messages of the gateway, checked by the TypeScript compiler against the types that are generated from the proto.
import { execFileSync } from "node:child_process"
import { mkdtempSync, rmSync, writeFileSync } from "node:fs"
import { tmpdir } from "node:os"
import { join } from "node:path"
import { fileURLToPath } from "node:url"
import ts from "typescript"
import { expect, test } from "vitest"
import type { Message } from "../src/index.js"
import { isWelcome } from "../src/index.js"
import { parseMessage } from "../src/messages.js"
import { Observer } from "./kit/clients.js"
import { PYTHON, REPOSITORY, Stack } from "./kit/programs.js"
import { within } from "./kit/waiting.js"

const SOURCE = fileURLToPath(new URL("../src/index.js", import.meta.url))

/** What the data of a message is, in TypeScript. Undefined: an engine's own. */
function typeOf(message: Message): string | undefined {
  const { type, data } = message
  if (isWelcome(message)) return "m.Welcome"
  if (type === "compression.update") {
    return `m.${"job_id" in (data as object) ? "CompressionJob" : "CompressionQueue"} & m.FreshnessMarks`
  }
  if (["system.status", "storage.update", "agent.status"].includes(type)) {
    return `m.StateData[${JSON.stringify(type)}] & m.FreshnessMarks`
  }
  if (type === "notification") return "m.Notification"
  const isOfCore = /^(rpc_error|connection_error|heartbeat|error|subscribe|unsubscribe|circuit_breaker\..*)$/.test(type)
  return isOfCore ? `m.LogData[${JSON.stringify(type)}]` : undefined
}

/** What the compiler has against these messages, written as literals of their types. */
function complaints(messages: readonly Message[]): string[] {
  const lines = messages.flatMap((message, index) => {
    const type = typeOf(message)
    return type === undefined ? [] : [`export const m${index}: m.Message<${type}> = ${JSON.stringify(message)}`]
  })
  const directory = mkdtempSync(join(tmpdir(), "engine-events-types-"))
  try {
    const file = join(directory, "messages.ts")
    writeFileSync(file, `import type * as m from ${JSON.stringify(SOURCE)}\n${lines.join("\n")}\n`)
    const program = ts.createProgram([file], {
      strict: true,
      exactOptionalPropertyTypes: true,
      noEmit: true,
      skipLibCheck: true,
      types: [],
      target: ts.ScriptTarget.ES2022,
      lib: ["lib.es2023.d.ts", "lib.dom.d.ts"],
      module: ts.ModuleKind.ESNext,
      moduleResolution: ts.ModuleResolutionKind.Bundler,
    })
    return ts.getPreEmitDiagnostics(program).map(({ messageText, file: at, start }) => {
      const line = at?.text.slice(0, start).split("\n").length ?? 0
      return `${ts.flattenDiagnosticMessageText(messageText, "\n")}\n  ${lines[line - 2] ?? ""}`
    })
  } finally {
    rmSync(directory, { recursive: true })
  }
}

test("what the gateway makes of each payload has the generated types", () => {
  const script = `
from ws_gateway.encode import encode
from engine_events.v1 import events_pb2
from tests.kit.messages import SAMPLES
TYPES = {"compression_job": "compression.update", "compression_queue": "compression.update",
  "circuit_breaker": "circuit_breaker.open", "subscriptions": "subscribe", "other": "scheduler.metrics",
  "system_status": "system.status", "storage_update": "storage.update", "agent_status": "agent.status"}
STATES = ("system_status", "storage_update", "agent_status", "compression_job", "compression_queue")
for name, sample in SAMPLES.items():
    for payload in (sample, type(sample)()):
        for stale in (False, True):
            event = events_pb2.Event(seq=1, type=TYPES.get(name, name), key="k" if name in STATES else "", **{name: payload})
            event.published_at.GetCurrentTime()
            if stale:
                event.freshness.stale = True
                event.freshness.error_code = "RPC_DISCONNECT"
            print(encode(event).json.decode())
`
  const output = execFileSync(PYTHON, ["-c", script], { cwd: REPOSITORY, encoding: "utf8" })
  const messages = output.trim().split("\n").map(parseMessage)
  expect(messages.length).toBe(13 * 4)
  expect(complaints(messages.filter((message) => message !== undefined))).toEqual([])
})

test("what a gateway says in the life of an engine has the generated types", async () => {
  const stack = await Stack.start({ engine: "host" })
  try {
    const observer = new Observer({ url: stack.url, types: ["*"] })
    observer.listen("*")
    await observer.open()
    const types = () => new Set(observer.messages.map(({ type }) => type))
    await observer.sees("all states", () => Object.keys(observer.shown).every((type) => types().has(type)))
    submitJob(stack.engine.address)
    await observer.sees("a job at its end", () => {
      return [...observer.client.jobs().values()].some(({ data, stale }) => data?.status === "completed" && !stale)
    })
    await stack.engine.end("SIGKILL")
    await observer.sees("a breaker", () => types().has("circuit_breaker.open") && types().has("rpc_error"))
    await stack.engine.start()
    await within(10_000, "all is well", () => stack.isReady())
    await observer.sees("a closed breaker", () => types().has("circuit_breaker.closed") && types().has("heartbeat"))
    expect(complaints(observer.messages)).toEqual([])
    const [job] = observer.client.jobs().values()
    expect(job?.data).toMatchObject({ status: "completed", job_type: "compress_data", progress: 100 })
  } finally {
    await stack.end()
  }
})

test("a name, a type or a spelling that the proto does not have is complained about", () => {
  const data = { message: "m", level: "info", source: "", timestamp: null }
  const message = { type: "notification", timestamp: "", data }
  expect(complaints([message])).toEqual([])
  for (const wrong of [
    { ...data, extra: 1 },
    { ...data, level: "INFO" },
    { message: "m", level: "info", source: "" },
  ]) {
    expect(complaints([{ ...message, data: wrong }])).toHaveLength(1)
  }
})

function submitJob(engine: string): void {
  const script = `
import sys, grpc
from engine_events.v1 import events_pb2
from engine_rpc.v1 import engine_service_pb2 as pb, engine_service_pb2_grpc
with grpc.insecure_channel(sys.argv[1]) as channel:
    engine_service_pb2_grpc.EngineServiceStub(channel).SubmitCompressionJob(
        pb.SubmitCompressionJobRequest(job_type=events_pb2.JOB_TYPE_COMPRESS_DATA, data=b"x" * 100_000), timeout=5)
`
  execFileSync(PYTHON, ["-c", script, engine], { cwd: REPOSITORY })
}
