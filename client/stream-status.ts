import type { HoldfastConfig } from "../contracts/config.ts";
import { readStreams, type Stream, type StreamStatus } from "../contracts/stream.ts";
import { closeRedis, openRedis } from "../db/redis.ts";
import { consumersOf, groupLag } from "../db/stream-group.ts";

/** A page or a scrape does not wait longer for a server that is away. */
const ANSWER_WITHIN_MS = 2_000;

/**
 * How the streams of the configuration stand, as their servers say now. A server that does not answer is
 * said so, and makes nothing fail.
 * @param redisUrl of streams that give no address; REDIS_URL
 * @throws InvalidInput when the configuration cannot hold
 */
export async function streamStatus(
  config: Pick<HoldfastConfig, "inventory">,
  redisUrl: string | undefined,
): Promise<StreamStatus[]> {
  return Promise.all(readStreams(config.inventory?.streams, redisUrl).map(statusOf));
}

async function statusOf(settings: Stream): Promise<StreamStatus> {
  const { url, stream, group, tenant } = settings;
  const unknown = { stream, group, tenant, lag: null, pending: null, consumers: [] };
  const redis = openRedis(url, "holdfast status");
  const late = setTimeout(() => closeRedis(redis), ANSWER_WITHIN_MS);
  try {
    await redis.connect();
    const lag = await groupLag(redis, settings);
    if (!lag) return { ...unknown, error: "there is no such group yet: start a worker" };
    return { ...unknown, error: null, ...lag, consumers: await consumersOf(redis, settings) };
  } catch (error) {
    const why = error instanceof Error ? error.message : String(error);
    return { ...unknown, error: `Redis does not answer: ${why || "no reason given"}` };
  } finally {
    clearTimeout(late);
    closeRedis(redis);
  }
}
