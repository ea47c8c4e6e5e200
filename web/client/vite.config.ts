import { defineConfig } from "vite"

// Everything in one file, for a page without a bundler; what tsc made beside it is for bundlers and Node.
export default defineConfig({
  build: {
    lib: { entry: "src/index.ts", formats: ["es"], fileName: () => "engine-events-client.min.js" },
    outDir: "dist",
    emptyOutDir: false,
    target: "es2022",
    rolldownOptions: { output: { minify: true } },
  },
})
