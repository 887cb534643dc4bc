import { createClient, RESP_TYPES } from "@redis/client";

/** The one way to Redis. Values come as bytes, names and ids as text. */

export type Redis = ReturnType<typeof openRedis>;

const CONNECT_WITHIN_MS = 5_000;

/**
 * A connection, to be opened with `connect()` and ended with `destroy()`. It is not dialled again when it
 * is lost: then what was on its way may have been done or not, and whoever sent it has to look.
 * @param name shown in CLIENT LIST
 */
export function openRedis(url: string, name: string) {
  const client = createClient({
    url,
    // No spaces in it, says the server.
    name: name.replaceAll(/[^!-~]+/g, "-"),
    RESP: 2,
    commandOptions: { typeMapping: { [RESP_TYPES.BLOB_STRING]: Buffer } },
    socket: { connectTimeout: CONNECT_WITHIN_MS, reconnectStrategy: false },
  });
  // Every command on its way fails with it; an event that nobody hears would end the process.
  client.on("error", () => undefined);
  return client;
}

/** Ends a connection, whatever became of it. */
export function closeRedis(redis: Redis): void {
  if (redis.isOpen) redis.destroy();
}
