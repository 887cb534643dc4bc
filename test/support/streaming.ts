import { randomInt } from "node:crypto";
import pino from "pino";
import { onTestFinished } from "vitest";
import { createPressure, type Pressure } from "../../activities/pressure.ts";
import type { HoldfastConfig } from "../../contracts/config.ts";
import { readStreams, type StreamConfig } from "../../contracts/stream.ts";
import type { Db, Queryable } from "../../db/pool.ts";
import { closeRedis, openRedis, type Redis } from "../../db/redis.ts";
import { groupLag } from "../../db/stream-group.ts";
import { streamProducer, type StreamProducer } from "../../dev/stream-producer.ts";
import { until } from "../../dev/until.ts";
import type { Loop } from "../../workers/loop.ts";
import { startStream } from "../../workers/stream.ts";
import { freshKey } from "./redis.ts";

export const GROUP = "holdfast";

/** An entity as agents send it. */
export const site = (name: string, more: object = {}) => ({
  timestamp: "2026-03-01T00:00:00Z",
  site: { name, ...more },
});
export const sites = (names: readonly string[]) => JSON.stringify(names.map((name) => site(name)));

/** `n` names that no other test has. */
export function siteNames(n: number): string[] {
  const prefix = `s${randomInt(1e9)}`;
  return Array.from({ length: n }, (_, no) => `${prefix}-${no}`);
}

export interface Streaming {
  stream: string;
  producer: StreamProducer;
  redis: Redis;
  pressure: Pressure;
  /** What the consumers logged: level and message. */
  logged: string[];
  /** Starts a consumer; it is stopped when the test ends. */
  consume(how?: Partial<StreamConfig> & { config?: HoldfastConfig; db?: Db }): Loop;
  /** Everything that was sent is taken and acknowledged. */
  drained(withinMs?: number): Promise<void>;
}

let consumers = 0;

/** A stream of the test's own with a producer, and consumers in this process. */
export async function streaming(url: string, db: Db): Promise<Streaming> {
  const stream = freshKey();
  const redis = openRedis(url, "test");
  await redis.connect();
  const producer = await streamProducer(url, stream);
  const pressure = createPressure();
  const logged: string[] = [];
  const log = pino(
    { level: "info" },
    {
      write: (line: string) => {
        const { level, msg, err } = JSON.parse(line) as Line;
        logged.push(`${level} ${msg}${err ? `: ${err.message}` : ""}`);
      },
    },
  );
  onTestFinished(() => {
    producer.close();
    closeRedis(redis);
  });
  return {
    stream,
    producer,
    redis,
    pressure,
    logged,
    consume({ config = {}, db: other, ...how } = {}) {
      const [settings] = readStreams([{ stream, ...how }], url);
      const loop = startStream({
        db: other ?? db,
        config,
        log,
        pressure,
        stream: settings!,
        name: how.consumer ?? `consumer-${++consumers}`,
      });
      onTestFinished(() => loop.stop());
      return loop;
    },
    async drained(withinMs = 15_000) {
      const probe = async () => {
        const left = await groupLag(redis, { stream, group: GROUP });
        return left !== null && left.lag === 0 && left.pending === 0;
      };
      await until(
        () => probe().catch(() => false),
        withinMs,
        () => `${stream} is not drained (${logged.join("; ")})`,
      );
    },
  };
}

interface Line {
  level: number;
  msg: string;
  err?: { message: string };
}

/** How often each site was accepted. */
export async function acceptedSites(db: Queryable): Promise<Map<string, number>> {
  const { rows } = await db.query<{ name: string; n: number }>(
    `select fields ->> 'name' as name, count(*)::int as n from holdfast.entities
      where type = 'site' group by 1`,
  );
  return new Map(rows.map(({ name, n }) => [name, n]));
}

/**
 * What of the expected names is not there exactly once, and what is there beside them. A message that was
 * taken twice shows by its copies.
 */
export async function notOnce(db: Queryable, names: readonly string[]): Promise<string[]> {
  const accepted = await acceptedSites(db);
  const wanted = new Set(names);
  const { rows } = await db.query<{ n: number }>(
    "select coalesce(sum(copies), 0)::int as n from holdfast.ingest_requests",
  );
  return [
    ...rows.filter(({ n }) => n > 0).map(({ n }) => `${n} were taken again`),
    ...names.filter((name) => accepted.get(name) !== 1).map((n) => `${n}: ${accepted.get(n) ?? 0}`),
    ...[...accepted.keys()].filter((name) => !wanted.has(name)).map((name) => `${name}: unknown`),
  ];
}

export async function rejectsOf(db: Queryable) {
  const { rows } = await db.query<{ no: number; code: string; raw: Buffer | null; why: string }>(
    `select no, code, raw, issues #>> '{0,message}' as why from holdfast.inbox_rejects order by id`,
  );
  return rows;
}
