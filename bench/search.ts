import { fileURLToPath } from "node:url";
import type { Benchmark } from "./frame.ts";
import { openScene } from "./scene.ts";
import { measureCapture } from "./search-capture.ts";
import { measureDrain } from "./search-drain.ts";
import { measureLag } from "./search-lag.ts";
import { createDevices, SEARCH } from "./search-objects.ts";
import { measureQuery } from "./search-query.ts";
import { measureRace } from "./search-race.ts";
import { measureReindex } from "./search-reindex.ts";
import config from "./search.config.ts";

export const benchmark: Benchmark = {
  name: "search",
  question:
    "What does it cost writers that search follows every commit, and how soon and true is it?",
  async run(frame) {
    await measureCapture(frame);
    await measureDrain(frame);
    await measureQuery(frame);
    const path = fileURLToPath(new URL("search.config.ts", import.meta.url));
    const scene = await openScene(frame, { config, path });
    await createDevices(scene.holdfast.db, ...SEARCH.schemas);
    await scene.holdfast.search.install();
    await scene.startWorker();
    await measureLag(frame, scene);
    await measureReindex(frame, scene);
    await measureRace(frame, scene);
    await frame.close();
  },
};
