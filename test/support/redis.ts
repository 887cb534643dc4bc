import { randomBytes } from "node:crypto";
import { mkdtemp } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { removeWhenGone } from "../../dev/leash.ts";
import { startRedis, type RedisServer } from "../../dev/redis.ts";

/**
 * A Redis server for the tests of a file, which may kill it. Undefined when there is none to be had: then
 * the tests are skipped, which is said, and where CI is set it is a failure.
 */
export async function redisForTests(): Promise<RedisServer | undefined> {
  // What is set for the application is never used for tests, which empty their server.
  const { REDIS_URL: _, ...environment } = process.env;
  const dir = await mkdtemp(join(tmpdir(), "holdfast-redis-"));
  removeWhenGone(dir);
  try {
    return await startRedis({ dir, durability: "fast", environment });
  } catch (error) {
    if (environment["CI"]) throw error;
    process.stderr.write(`\nSKIPPED, all tests of this file: ${(error as Error).message}\n\n`);
    return undefined;
  }
}

/** A key of the test's own. */
export function freshKey(name = "stream"): string {
  return `${name}-${randomBytes(6).toString("hex")}`;
}
