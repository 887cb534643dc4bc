import { promisify } from "node:util";
import { brotliCompress, constants, gzip } from "node:zlib";
import { closeRedis, openRedis } from "../db/redis.ts";

/** Sends messages into a stream, as a discovery agent does. */
export interface StreamProducer {
  /** `request` is sent as it is, or compressed. Answers the id of the entry. */
  send(request: string | Buffer, how?: Sending): Promise<string>;
  close(): void;
}

export interface Sending {
  encoding?: "br" | "gzip";
  /** Of the entry; default: the server gives it one. */
  id?: string;
  fields?: Readonly<Record<string, string>>;
}

export async function streamProducer(url: string, stream: string): Promise<StreamProducer> {
  const redis = openRedis(url, "holdfast producer");
  await redis.connect();
  return {
    async send(request, { encoding, id = "*", fields } = {}) {
      const plain = Buffer.from(request);
      const bytes = encoding ? await COMPRESS[encoding](plain) : plain;
      const message = { request: bytes, ...(encoding && { encoding }), ...fields };
      return String(await redis.xAdd(stream, id, message));
    },
    close: () => closeRedis(redis),
  };
}

const COMPRESS = {
  br: (bytes: Buffer) =>
    promisify(brotliCompress)(bytes, { params: { [constants.BROTLI_PARAM_QUALITY]: 4 } }),
  gzip: (bytes: Buffer) => promisify(gzip)(bytes),
};
