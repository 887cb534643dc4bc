import { defineConfig } from "../contracts/config.ts";

// Measurements take many batches at once, so that posts alone are measured.
export default defineConfig({ jobs: { heldBatches: 10_000 } });
