import type { Logger } from "pino";
import type { Pressure } from "../activities/pressure.ts";
import type { HoldfastConfig } from "../contracts/config.ts";
import type { Stream } from "../contracts/stream.ts";
import type { Db } from "../db/pool.ts";
import { isGroupGone } from "../db/stream-group.ts";
import type { Loop } from "./loop.ts";
import { consume } from "./stream-consumer.ts";
import type { StreamMetrics } from "./stream-metrics.ts";
import { untilOver } from "./stream-stop.ts";

export interface StreamOptions {
  db: Db;
  config: Pick<HoldfastConfig, "inventory">;
  log: Logger;
  /** Name of the consumer, where the configuration gives none. */
  identity: string;
  pressure: Pressure;
  metrics?: StreamMetrics | undefined;
}

/** One reader of one stream. */
export interface Consumer extends Omit<StreamOptions, "identity"> {
  stream: Stream;
  name: string;
}

/**
 * Takes in from streams, each in a loop that no fault ends. It makes no call to a target and waits for no
 * plan.
 */
export function startStreams(options: StreamOptions, streams: readonly Stream[]): Loop[] {
  const { identity, ...common } = options;
  return streams.map((stream) =>
    startStream({ ...common, stream, name: stream.consumer ?? identity }),
  );
}

const FIRST_WAIT_MS = 1_000;
const MOST_WAIT_MS = 10_000;
/** What is being written when the loop is stopped may be ended in this time. */
const GRACE_MS = 30_000;

export function startStream(consumer: Consumer): Loop {
  const { stream, log, metrics } = consumer;
  const stopping = new AbortController();
  const late = new AbortController();
  let faults = 0;
  const run = async () => {
    while (!stopping.signal.aborted) {
      try {
        await consume(consumer, {
          stop: stopping.signal,
          giveUp: late.signal,
          well: () => (faults = 0),
        });
      } catch (error) {
        if (stopping.signal.aborted) return;
        faults++;
        metrics?.failed(stream);
        const where = { stream: stream.stream, group: stream.group, faults };
        if (isGroupGone(error)) {
          log.warn(where, "the group of the stream is gone; it is made again at the beginning");
        } else if (Math.log2(faults) % 1 === 0) {
          log.warn({ ...where, err: error }, "the stream is not read; trying again");
        }
        await untilOver(Math.min(FIRST_WAIT_MS * 2 ** (faults - 1), MOST_WAIT_MS), stopping.signal);
      }
    }
  };
  const ended = run();
  return {
    nudge: () => undefined,
    stop: async () => {
      stopping.abort();
      const timer = setTimeout(() => late.abort(), GRACE_MS);
      await ended;
      clearTimeout(timer);
    },
  };
}
