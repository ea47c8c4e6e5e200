// Prints what a page downloads: the client in one file, minified, and that compressed by gzip.
import { readFileSync } from "node:fs"
import { gzipSync } from "node:zlib"

const file = new URL("../dist/engine-events-client.min.js", import.meta.url)
const code = readFileSync(file)
const kilobytes = (bytes) => `${(bytes / 1000).toFixed(1)} kB`
console.log(`${kilobytes(code.length)} minified, ${kilobytes(gzipSync(code, { level: 9 }).length)} with gzip`)
