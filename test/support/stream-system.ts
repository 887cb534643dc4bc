import { fileURLToPath } from "node:url";
import { afterAll, afterEach, beforeAll, beforeEach } from "vitest";
import type { StreamConfig } from "../../contracts/stream.ts";
import { closeRedis, openRedis, type Redis } from "../../db/redis.ts";
import { groupLag } from "../../db/stream-group.ts";
import type { RedisServer } from "../../dev/redis.ts";
import { streamProducer, type StreamProducer } from "../../dev/stream-producer.ts";
import { startProxy, type Proxy } from "./proxy.ts";
import { freshKey, redisForTests } from "./redis.ts";
import { GROUP, siteNames, sites } from "./streaming.ts";
import { startSystem, type System } from "./system.ts";

const CONFIG = fileURLToPath(new URL("../system/fixtures/streamed.config.ts", import.meta.url));

/** Workers that are processes and read a stream of the test's own through a proxy. */
export interface StreamSystem {
  /** Undefined: there is none to be had, and nothing can be tested. */
  readonly server: RedisServer | undefined;
  readonly system: System;
  /** Between workers and the server. */
  readonly proxy: Proxy;
  readonly producer: StreamProducer;
  /** What others leave it takes over soon. */
  worker(how?: Partial<StreamConfig>): ReturnType<System["worker"]>;
  /** Sends messages of so many entities each, and answers the names of all. */
  send(messages: number, entities: number): Promise<string[]>;
  /** Messages that somebody has read and not acknowledged. */
  pending(): Promise<number>;
  /** Everything that was sent is taken and acknowledged, over servers that may be away. */
  drained(withinMs?: number): Promise<void>;
  /** The server ends and starts again on its file. */
  restartServer(): Promise<void>;
}

/** Call once at the top of a file: a system for the file, a stream for each of its tests. */
export async function streamSystem(): Promise<StreamSystem> {
  const server = await redisForTests();
  let system: System;
  let proxy: Proxy;
  let stream: string;
  let producer: StreamProducer;
  beforeAll(async () => {
    system = await startSystem();
  });
  beforeEach(async () => {
    proxy = await startProxy(`127.0.0.1:${server!.port}`);
    stream = freshKey();
    producer = await streamProducer(server!.url, stream);
  });
  afterEach(async () => {
    producer.close();
    await system.tidy();
    await proxy.stop();
    await system.forget();
  });
  afterAll(async () => {
    await system.stop();
    await server?.stop();
  });

  const asked = async <T>(ask: (redis: Redis) => Promise<T>): Promise<T> => {
    const redis = openRedis(server!.url, "test");
    try {
      await redis.connect();
      return await ask(redis);
    } finally {
      closeRedis(redis);
    }
  };
  return {
    server,
    get system() {
      return system;
    },
    get proxy() {
      return proxy;
    },
    get producer() {
      return producer;
    },
    worker(how = {}) {
      const url = server!.url.replace(/127\.0\.0\.1:\d+$/, proxy.address);
      process.env["STREAMED"] = JSON.stringify([{ stream, url, claimIdleMs: 1_000, ...how }]);
      return system.worker({ config: CONFIG });
    },
    async send(messages, entities) {
      const names: string[] = [];
      for (let no = 0; no < messages; no++) {
        const some = siteNames(entities);
        names.push(...some);
        await producer.send(sites(some));
      }
      return names;
    },
    pending: () =>
      asked(async (redis) => (await groupLag(redis, { stream, group: GROUP }))!.pending),
    drained(withinMs = 60_000) {
      const isDrained = async (redis: Redis) => {
        const left = await groupLag(redis, { stream, group: GROUP });
        return left?.lag === 0 && left.pending === 0 && (await redis.xLen(stream)) === 0;
      };
      return system.eventually(`${stream} is drained`, () => asked(isDrained), withinMs);
    },
    async restartServer() {
      await server!.restart("SIGKILL");
      producer.close();
      producer = await streamProducer(server!.url, stream);
    },
  };
}
