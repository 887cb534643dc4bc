import type { Context } from "hono";
import { z } from "zod";
import { InvalidInput } from "../../contracts/errors.ts";
import { IdempotencyKey } from "../../contracts/operation.ts";

/** The header that is the same as `key` in what is sent. */
export const KeyHeader = z.object({ "Idempotency-Key": IdempotencyKey.optional() });

/** What was sent, with the key of the header. @throws InvalidInput when both are given and differ */
export function withKey<T extends { key?: string | undefined }>(c: Context, sent: T): T {
  const key = c.req.header("idempotency-key");
  if (key === undefined) return sent;
  if (sent.key !== undefined && sent.key !== key) {
    throw new InvalidInput([
      { path: "Idempotency-Key", message: `says "${key}", the request itself "${sent.key}"` },
    ]);
  }
  return { ...sent, key };
}
