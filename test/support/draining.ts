import { setTimeout as pause } from "node:timers/promises";
import { onTestFinished } from "vitest";
import type { HoldfastConfig } from "../../contracts/config.ts";
import { nextIndexSchema } from "../../db/index-claim.ts";
import { indexDrain } from "../../db/index-drain.ts";
import { ALL_LANES } from "../../db/index-lanes.ts";
import { IndexSources } from "../../db/index-sources.ts";
import type { Db } from "../../db/pool.ts";
import { until } from "../../dev/until.ts";
import { classify } from "../../domain/faults.ts";
import { searchRegistry } from "../../domain/search.ts";
import { marksLeft } from "./indexing.ts";

/** Drains of the index at work while a test writes, without workflows. */
export interface Draining {
  /** Resolves when no mark is left. @throws what a drain threw that is no fault of the infrastructure */
  settled(withinMs?: number): Promise<void>;
  stop(): Promise<void>;
}

export interface DrainingOptions {
  db: Db;
  config: HoldfastConfig;
  /** Drains of each lane at once. Default 2. */
  each?: number;
}

const LOOK_EVERY_MS = 10;

/** Ends with the test. */
export function draining({ db, config, each = 2 }: DrainingOptions): Draining {
  const stopping = new AbortController();
  const { signal } = stopping;
  const registry = searchRegistry(config, db.schema);
  const faults: unknown[] = [];

  async function drain(lane: number): Promise<void> {
    // Each is a process of its own, as far as what it remembers goes.
    const work = indexDrain(db, config, registry, new IndexSources(registry));
    let served = "";
    while (!signal.aborted) {
      try {
        const schema = await nextIndexSchema(db, lane, served);
        if (schema !== undefined) {
          served = schema;
          await work.batch(lane, schema, signal);
          continue;
        }
      } catch (error) {
        if (signal.aborted) return;
        // Retried without limit, as its workflow would.
        if (classify(error) !== "infrastructure") faults.push(error);
      }
      await pause(LOOK_EVERY_MS, undefined, { signal }).catch(() => undefined);
    }
  }

  const running = Promise.all(
    ALL_LANES.flatMap((lane) => Array.from({ length: each }, () => drain(lane))),
  );
  const stop = async () => {
    stopping.abort();
    await running;
  };
  onTestFinished(stop);
  return {
    async settled(withinMs = 60_000) {
      const isOver = async () => faults.length > 0 || (await marksLeft(db)) === 0;
      await until(isOver, withinMs, () => "marks are left", 5);
      if (faults.length > 0) throw faults[0];
    },
    stop,
  };
}
