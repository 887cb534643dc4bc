import { mkdtemp, rm } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { pino } from "pino";
import { createPressure } from "../activities/pressure.ts";
import { connect, type EntityInput } from "../client/index.ts";
import { readStreams } from "../contracts/stream.ts";
import { openDb } from "../db/pool.ts";
import { startRedis, type RedisServer } from "../dev/redis.ts";
import { streamProducer, type Sending } from "../dev/stream-producer.ts";
import { startStream } from "../workers/stream.ts";
import { median, ratio } from "./figures.ts";
import type { Frame } from "./frame.ts";
import { inTurn, timed } from "./in-turn.ts";
import { feedLine } from "./inventory-feed.ts";

/** Entities of one message of a stream, as agents send them. */
const OF_A_MESSAGE = 1_000;
const OF_A_SMALL_MESSAGE = 50;
/** Entities of one call of the SDK. */
const OF_A_CALL = 10_000;

/**
 * A stream full of messages, read by one consumer until all of it is committed and acknowledged; and the
 * same texts, parsed and handed to the SDK. One process and one connection for what is written, each.
 */
export async function measureStream(frame: Frame): Promise<void> {
  const redis = await redisOf(frame);
  const databaseUrl = await frame.database(await frame.postgres());
  const holdfast = connect({ databaseUrl, poolSize: 1 });
  frame.atEnd(() => holdfast.close());
  const size = frame.quick ? 5_000 : 100_000;
  const lines = Array.from({ length: size }, (_, no) => feedLine(no));
  const calls = textsOf(lines, OF_A_CALL);
  const parsed = calls.map((text) => JSON.parse(text) as EntityInput[]);
  const { db, inbox } = holdfast;
  const perSecond = async (work: () => Promise<unknown>) => {
    await db.query("checkpoint");
    return (size * 1_000) / (await timed(work));
  };
  const streamed =
    (name: string, messages: readonly string[], how?: Sending) => async (round: number) => {
      const at = { redis, databaseUrl, stream: `${name}-${round}` };
      await send(at, messages, how);
      return perSecond(() => readAll(at, size));
    };

  const messages = textsOf(lines, OF_A_MESSAGE);
  const seen = await inTurn(frame.quick ? 1 : 5, {
    stream: streamed("stream", messages),
    text: (round) =>
      perSecond(async () => {
        for (const text of calls) {
          await inbox.ingest(JSON.parse(text) as EntityInput[], { tenant: `text-${round}` });
        }
      }),
    parsed: (round) =>
      perSecond(async () => {
        for (const entities of parsed) await inbox.ingest(entities, { tenant: `parsed-${round}` });
      }),
  });
  const others = await inTurn(frame.quick ? 1 : 3, {
    compressed: streamed("br", messages, { encoding: "br" }),
    small: streamed("small", textsOf(lines, OF_A_SMALL_MESSAGE)),
  });
  const of = (n: number) => `${n.toLocaleString("en")} entities a message`;
  frame.measure(`through the stream, ${of(OF_A_MESSAGE)}`, median(seen.stream), "entities/s");
  frame.measure("direct, the same text, parsed on the way", median(seen.text), "entities/s");
  frame.measure("through the stream, of direct", 100 * ratio(seen.stream, seen.text), "%", {
    atLeast: 60,
  });
  frame.measure("the same, of direct already parsed", 100 * ratio(seen.stream, seen.parsed), "%");
  frame.measure("through the stream, compressed with br", median(others.compressed), "entities/s");
  frame.measure(
    `through the stream, ${of(OF_A_SMALL_MESSAGE)}`,
    median(others.small),
    "entities/s",
  );
  await frame.close();
}

interface At {
  redis: RedisServer;
  databaseUrl: string;
  /** Its tenant has the same name. */
  stream: string;
}

async function redisOf(frame: Frame): Promise<RedisServer> {
  const dir = await mkdtemp(join(tmpdir(), "holdfast-bench-redis-"));
  frame.atEnd(() => rm(dir, { recursive: true, force: true }));
  // What is set for an application is not for us.
  const { REDIS_URL: _, ...environment } = process.env;
  const redis = await startRedis({ dir, durability: "durable", environment });
  frame.atEnd(() => redis.stop());
  return redis;
}

async function send({ redis, stream }: At, messages: readonly string[], how?: Sending) {
  const producer = await streamProducer(redis.url, stream);
  for (const message of messages) await producer.send(message, how);
  producer.close();
}

/** From the start of a consumer until everything is taken. */
async function readAll({ redis, databaseUrl, stream }: At, size: number): Promise<void> {
  // One connection writes; the other looks how the inbox stands.
  const db = openDb({ url: databaseUrl, size: 2 });
  const [settings] = readStreams([{ stream, tenant: stream }], redis.url);
  let left = size;
  await new Promise<void>((resolve, reject) => {
    const loop = startStream({
      db,
      config: {},
      stream: settings!,
      name: "bench",
      log: pino({ level: "silent" }),
      pressure: createPressure(),
      metrics: {
        // Told after the acknowledgement.
        taken(_, { accepted, rejected }) {
          left -= accepted;
          if (rejected > 0) reject(new Error(`${rejected} were rejected`));
          if (left === 0) void loop.stop().then(resolve, reject);
        },
        lag: () => undefined,
        paused: (_, paused) => paused && reject(new Error("the inbox is full")),
        failed: () => reject(new Error("reading was broken off")),
      },
    });
  }).finally(() => db.close());
}

function textsOf(lines: readonly string[], size: number): string[] {
  const texts: string[] = [];
  for (let at = 0; at < lines.length; at += size) {
    texts.push(`[${lines.slice(at, at + size).join(",")}]`);
  }
  return texts;
}
