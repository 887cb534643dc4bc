import { z } from "zod";
import { InvalidInput } from "./errors.ts";
import { DEFAULT_TENANT, Tenant } from "./operation.ts";

/**
 * A Redis stream (7 or newer) as a source of entities.
 *
 * A message is one `XADD <stream> * request <bytes> [encoding br|gzip] [ingestion_ts <ns>]`:
 * - `request`: entities as a JSON array, as `{"entities": [...]}`, as NDJSON, or one entity alone;
 * - `encoding`: how `request` is compressed; absent: it is not;
 * - `ingestion_ts`: nanoseconds since 1970, the time of entities that give none themselves.
 *
 * What was read and committed is acknowledged and deleted. What cannot be read is kept raw among the
 * rejects of its request; what can is taken all the same.
 */

const RedisUrl = z
  .string()
  .regex(/^rediss?:\/\/./, "must begin with redis:// or rediss://")
  .optional();
const Key = z.string().min(1).max(500);
const milliseconds = (fallback: number, min: number) =>
  z.int().min(min).max(86_400_000).default(fallback);

export const StreamSettings = z
  .strictObject({
    /** `redis://` or `rediss://`. Default: REDIS_URL. */
    url: RedisUrl,
    /** Key of the stream. */
    stream: Key,
    /** Consumer group. It is made at the beginning of the stream when it is not there. */
    group: Key.default("holdfast"),
    /** Whose entities these are. */
    tenant: Tenant.default(DEFAULT_TENANT),
    /** Branch of entities that name none. Default: the tenant's. */
    branch: z.string().min(1).max(200).optional(),
    /** Name among the consumers of the group, one for each process. Default: the worker's own. */
    consumer: Key.optional(),
    /** Messages of one read. */
    count: z.int().min(1).max(10_000).default(100),
    /** Messages are written together up to so many entities ... */
    coalesceRows: z.int().min(1).max(100_000).default(5_000),
    /** ... and for so long after the first of them came, ms. */
    coalesceMs: milliseconds(20, 0),
    /** A message that was delivered more often, and never taken, is put aside raw. */
    maxDeliveries: z.int().min(2).max(1_000).default(5),
    /** What a consumer has had for so long without taking it is taken over by another, ms. */
    claimIdleMs: milliseconds(60_000, 100),
    /** A message may have this many bytes, uncompressed. */
    maxMessageBytes: z
      .int()
      .min(1_024)
      .max(512 * 1024 ** 2)
      .default(64 * 1024 ** 2),
    /** From this many messages behind on, planning takes turns with taking in. 0: never. */
    highLag: z.int().min(0).default(1_000),
    /** Down to this many messages behind, it goes on taking turns. Default: a tenth of `highLag`. */
    lowLag: z.int().min(0).optional(),
    /** Nothing is read while the tenant's oldest entity has waited longer than this, s. 0: it may wait. */
    maxInboxAgeSeconds: z.int().min(0).default(0),
  })
  .refine(({ lowLag, highLag }) => lowLag === undefined || highLag === 0 || lowLag < highLag, {
    path: ["lowLag"],
    message: "must be less than highLag",
  });
export type StreamSettings = z.infer<typeof StreamSettings>;

/** What stands in `inventory.streams` of the configuration. */
export type StreamConfig = z.input<typeof StreamSettings>;

/** A stream of the configuration with everything it leaves out. */
export interface Stream extends StreamSettings {
  url: string;
  lowLag: number;
}

/**
 * Reads the streams of the configuration.
 * @param redisUrl where a stream is that says nothing of it
 * @throws InvalidInput naming the stream and its field
 */
export function readStreams(
  streams: readonly StreamConfig[] | undefined,
  redisUrl: string | undefined,
): Stream[] {
  const parsed = z.array(StreamSettings).safeParse(streams ?? []);
  if (!parsed.success) {
    throw new InvalidInput(
      parsed.error.issues.map(({ path, message }) => ({
        path: ["inventory", "streams", ...path].join("."),
        message,
      })),
    );
  }
  const read = parsed.data.map((settings, no) => {
    const url = settings.url ?? redisUrl;
    if (url) return { ...settings, url, lowLag: settings.lowLag ?? settings.highLag / 10 };
    const message = "is not set, and neither is REDIS_URL: set one of them to redis://...";
    throw new InvalidInput([{ path: `inventory.streams.${no}.url`, message }]);
  });
  const keys = read.map(({ url, stream, group }) => `${url} ${stream} ${group}`);
  const twice = keys.findIndex((key, no) => keys.indexOf(key) !== no);
  if (twice === -1) return read;
  const message = "is read already by another entry, with the same group: give it another group";
  throw new InvalidInput([{ path: `inventory.streams.${twice}.stream`, message }]);
}

/** How a stream stands, as its server says. */
export interface StreamStatus {
  stream: string;
  group: string;
  tenant: string;
  /** Why the server could not be asked; then nothing else is known. */
  error: string | null;
  /** Messages that nobody has read yet. Never the length of the stream, which counts what is done, too. */
  lag: number | null;
  /** Messages that somebody has read and not taken yet. */
  pending: number | null;
  consumers: readonly StreamConsumer[];
}

export interface StreamConsumer {
  name: string;
  pending: number;
  /** Since it last asked, ms. */
  idleMs: number;
}
