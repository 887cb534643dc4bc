import { defineConfig } from "./contracts/config.ts";

/** Where you plug in. Everything is optional; see contracts/config.ts for what there is. */
export default defineConfig({});
