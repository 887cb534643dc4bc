import { setTimeout as sleep } from "node:timers/promises";
import { defineConfig } from "../contracts/config.ts";
import { proseExtractor } from "../domain/extraction.ts";

/** By rule, a few hundred documents take a second. The demo's extractor is as slow as a small model. */
const CHUNK_MS = 120;

export default defineConfig({
  extractor: {
    ...proseExtractor,
    name: "slow-prose",
    async extract(chunk, item, context) {
      await sleep(CHUNK_MS, undefined, { signal: context.signal });
      return proseExtractor.extract(chunk, item, context);
    },
  },
});
