import { chmod, mkdir, mkdtemp, readdir, rm, writeFile } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { afterEach, beforeEach, describe, expect, test } from "vitest";
import { closeRedis, openRedis } from "../../db/redis.ts";
import { removeWhenGone } from "../../dev/leash.ts";
import { redisBinary } from "../../dev/redis-binary.ts";
import { startRedis } from "../../dev/redis.ts";
import { startStack } from "../../dev/stack.ts";
import { until } from "../../dev/until.ts";
import { redisForTests } from "../support/redis.ts";
import { runStack, stillRunning } from "./running-stack.ts";

let home: string;
beforeEach(async () => {
  home = await mkdtemp(join(tmpdir(), "holdfast-redis-"));
  removeWhenGone(home);
  await mkdir(join(home, "bin"));
});
afterEach(() => rm(home, { recursive: true, force: true }));

const script = (version: string) => `#!/bin/sh\necho "Redis server v=${version} sha=0"\n`;
async function writeProgram(file: string, text: string): Promise<void> {
  await writeFile(file, text);
  await chmod(file, 0o755);
}
const unpackTo = (version: string) => async (dir: string) => {
  await mkdir(join(dir, "usr", "bin"), { recursive: true });
  await writeProgram(join(dir, "usr", "bin", "redis-server"), script(version));
};
const never = () => Promise.reject(new Error("no packages here"));

function find(unpack: (dir: string) => Promise<void>, log: string[] = []) {
  const environment = { PATH: join(home, "bin"), XDG_CACHE_HOME: join(home, "cache") };
  return redisBinary({ environment, unpack, log: (line) => log.push(line) });
}

test("a recent server on PATH is used before anything is fetched, Redis or Valkey", async () => {
  await writeProgram(join(home, "bin", "valkey-server"), script("8.0.1"));
  expect(await find(never)).toMatchObject({ path: join(home, "bin", "valkey-server") });
  await writeProgram(join(home, "bin", "redis-server"), script("7.2.4"));
  const found = await find(never);
  expect(found).toEqual({
    path: join(home, "bin", "redis-server"),
    libraries: "",
    version: "7.2.4",
  });
});

test("one that is too old is passed over, and said so; packages are unpacked once", async () => {
  await writeProgram(join(home, "bin", "redis-server"), script("6.0.16"));
  const log: string[] = [];
  let times = 0;
  const counted = (dir: string) => {
    times++;
    return unpackTo("7.0.15")(dir);
  };
  const found = await Promise.all([find(counted, log), find(counted)]);
  expect(found.map(({ version }) => version)).toEqual(["7.0.15", "7.0.15"]);
  expect(log[0]).toContain("6.0.16 is older than 7");
  expect(times).toBe(1);
  expect((await find(never)).version).toBe("7.0.15");
});

test("what breaks off leaves nothing behind, and the error says every way and the next step", async () => {
  await expect(find(never)).rejects.toThrow(
    /neither redis-server nor valkey-server is on PATH; no packages here.*Install redis-server 7.*REDIS_URL/,
  );
  await expect(find(unpackTo("5.0.0"))).rejects.toThrow("5.0.0, older than 7");
  expect(await readdir(join(home, "cache", "holdfast", "redis"))).toEqual([]);
});

const server = await redisForTests();
await server?.stop();

describe.skipIf(!server)("a real server", () => {
  test("is killed and comes back at the same address with its data, and asks for its password", async () => {
    const redis = await startRedis({ dir: join(home, "redis"), durability: "fast" });
    await withClient(redis.url, (client) => client.set("kept", "1"));
    const { pid } = redis;
    await redis.restart("SIGKILL");
    expect(redis.pid).not.toBe(pid);
    expect(String(await withClient(redis.url, (client) => client.get("kept")))).toBe("1");
    const stranger = `redis://127.0.0.1:${redis.port}`;
    await expect(withClient(stranger, (client) => client.get("kept"))).rejects.toThrow("NOAUTH");
    await redis.stop();
    expect(redis.pid).toBeUndefined();
  });

  test("one that does not start says why", async () => {
    const settings = { "no-such-setting": "1" };
    await expect(startRedis({ dir: join(home, "redis"), settings })).rejects.toThrow(
      "Redis did not start",
    );
  });

  test("belongs to a stack that asks for it, and to no other; REDIS_URL goes before it", async () => {
    const given = { DATABASE_URL: "postgres://x", REDIS_URL: "redis://given:1" };
    const log = () => undefined;
    const used = await startStack({ temporal: false, redis: true, environment: given, log });
    expect(used).toMatchObject({ redisUrl: "redis://given:1", redis: undefined });
    await used.stop();
    const without = await startStack({ temporal: false, environment: given, log });
    expect(without).not.toHaveProperty("redisUrl");
    await without.stop();
  });

  test("ends with the process that started the stack, however that ends", async () => {
    const stack = await runStack("--temporary", "--redis");
    expect(await withClient(stack.redisUrl!, (client) => client.ping())).toBe("PONG");
    stack.process.kill("SIGKILL");
    await until(
      () => stillRunning(stack.below).length === 0,
      25_000,
      () => `left behind: ${stillRunning(stack.below).join(" ")}`,
    );
  });
});

async function withClient<T>(
  url: string,
  work: (client: ReturnType<typeof openRedis>) => Promise<T>,
): Promise<T> {
  const client = openRedis(url, "test");
  try {
    await client.connect();
    return await work(client);
  } finally {
    closeRedis(client);
  }
}
