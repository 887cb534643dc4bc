import { defineConfig } from "../contracts/config.ts";

/** Everything a rule lets through, and a target that is reached only if something listens there. */
export default defineConfig({
  inventory: {
    mode: "auto",
    rules: [{ name: "all", decision: "apply" }],
    guard: { maxShare: 0 },
    targets: { outside: { url: process.env["BENCH_TARGET_URL"] ?? "http://127.0.0.1:9" } },
  },
});
