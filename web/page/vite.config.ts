import { readdir, readFile, writeFile } from "node:fs/promises"
import { join } from "node:path"
import { brotliCompressSync, gzipSync } from "node:zlib"

import react from "@vitejs/plugin-react"
import { defineConfig, type Plugin } from "vite"

// `npm run dev` serves the page with a gateway's data: the default one, or GATEWAY=http://HOST:PORT
const gateway = process.env.GATEWAY ?? "http://127.0.0.1:12080"

/** Lays name.br and name.gz beside each text: the gateway sends them to whoever takes them. */
function compressed(): Plugin {
  return {
    name: "compressed",
    apply: "build",
    async writeBundle({ dir = "." }) {
      for (const name of await readdir(dir, { recursive: true })) {
        if (!/\.(html|js|css|svg)$/.test(name)) continue
        const text = await readFile(join(dir, name))
        await writeFile(join(dir, `${name}.br`), brotliCompressSync(text))
        await writeFile(join(dir, `${name}.gz`), gzipSync(text, { level: 9 }))
      }
    },
  }
}

export default defineConfig({
  plugins: [react(), compressed()],
  base: "./",
  build: {
    outDir: "../../ws_gateway/page_files",
    emptyOutDir: true,
    assetsInlineLimit: 0,
    modulePreload: { polyfill: false },
    target: "es2022",
  },
  server: {
    proxy: {
      "/ws": { target: gateway, ws: true, headers: { origin: gateway } },
      "/api": { target: gateway, headers: { origin: gateway } },
    },
  },
})
