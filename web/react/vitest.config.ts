import { defineConfig } from "vitest/config"

export default defineConfig({
  test: {
    include: ["test/**/*.test.tsx"],
    environment: "happy-dom",
    testTimeout: 30_000,
    hookTimeout: 30_000,
  },
})
