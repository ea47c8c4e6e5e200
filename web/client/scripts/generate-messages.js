// Writes src/generated/messages.ts: the messages of proto/engine_events/v1/events.proto as the gateway's JSON has them.
// The rules are those of ws_gateway/translate.py; the comments of the proto become TSDoc.
import { mkdirSync, readFileSync, writeFileSync } from "node:fs"
import protobuf from "protobufjs"

const PROTO = new URL("../../../proto/engine_events/v1/events.proto", import.meta.url)
const OUT = new URL("../src/generated/messages.ts", import.meta.url)

/** What only the gRPC side sees: an event's envelope is another one in JSON. */
const NOT_IN_JSON = new Set(["Event", "Freshness", "Position"])
/** Enums whose JSON is upper case, as in translate.py. */
const UPPER_CASE_ENUMS = new Set(["PoolState"])

const SCALARS = {
  // one that is NaN or infinite is null
  double: "number | null",
  float: "number | null",
  uint64: "number",
  uint32: "number",
  int64: "number",
  int32: "number",
  bool: "boolean",
  string: "string",
  bytes: "string",
  "google.protobuf.Timestamp": "string | null",
  "google.protobuf.Struct": "Record<string, unknown>",
}

/** The proto's comment as TSDoc. @param {string | null} text @param {string} indent */
function tsdoc(text, indent = "") {
  if (!text) return ""
  const lines = text.trim().replaceAll("*/", "*\\/").split("\n")
  if (lines.length === 1) return `${indent}/** ${lines[0].trim()} */\n`
  return `${indent}/**\n${lines.map((line) => `${indent} * ${line.trim()}\n`).join("")}${indent} */\n`
}

/** POOL_STATE_ONLINE of PoolState is ONLINE, JOB_STATUS_RUNNING of JobStatus is running. @param {protobuf.Enum} type */
function enumUnion(type) {
  const prefix = `${type.name.replace(/(?<=[a-z0-9])(?=[A-Z])/g, "_").toUpperCase()}_`
  const names = Object.keys(type.values).map((name) => name.slice(name.startsWith(prefix) ? prefix.length : 0))
  const texts = UPPER_CASE_ENUMS.has(type.name) ? names : names.map((name) => name.toLowerCase())
  return `${tsdoc(type.comment)}export type ${type.name} = ${texts.map((text) => JSON.stringify(text)).join(" | ")}\n`
}

/** @param {protobuf.Field} field */
function fieldType(field) {
  const element = SCALARS[field.type] ?? field.type
  if (field instanceof protobuf.MapField) return `Record<string, ${element}>`
  if (field.repeated) return element.includes(" ") ? `(${element})[]` : `${element}[]`
  const mayBeUnset = field.options?.proto3_optional || !(field.type in SCALARS || ENUMS.has(field.type))
  return mayBeUnset && !element.endsWith("| null") ? `${element} | null` : element
}

/** @param {protobuf.Type} type */
function messageInterface(type) {
  const fields = type.fieldsArray.map((field) => `${tsdoc(field.comment, "  ")}  ${field.name}: ${fieldType(field)}\n`)
  return `${tsdoc(type.comment)}export interface ${type.name} {\n${fields.join("")}}\n`
}

const source = readFileSync(PROTO, "utf8")
const { root } = protobuf.parse(source, { keepCase: true, alternateCommentMode: true })
const declared = root.lookup("engine_events.v1").nestedArray
const ENUMS = new Set(declared.filter((type) => type instanceof protobuf.Enum).map((type) => type.name))
const declarations = declared
  .filter((type) => !NOT_IN_JSON.has(type.name))
  .map((type) => (type instanceof protobuf.Enum ? enumUnion(type) : messageInterface(type)))
mkdirSync(new URL(".", OUT), { recursive: true })
writeFileSync(OUT, `// Generated from proto/engine_events/v1/events.proto: change that.\n\n${declarations.join("\n")}`)
