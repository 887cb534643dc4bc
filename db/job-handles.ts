import { createHash, randomBytes } from "node:crypto";

/**
 * Handles of leases: what is leased, and 128 random bits. Only a digest of them is stored, made with
 * the key of whoever claimed, so that a handle is worth nothing without that key, and nothing that
 * stands in the database is worth a handle.
 */

export interface LeaseRef {
  operationId: string;
  generation: number;
  batch: number;
  lease: number;
}

const SECRET_BYTES = 16;
const HANDLE_BYTES = 16 + 3 * 4 + SECRET_BYTES;

/** Secrets for so many leases, one after another. */
export function newSecrets(n: number): Buffer {
  return randomBytes(n * SECRET_BYTES);
}

/** The handle of a lease made with secret number `no` (0-based) of these. */
export function handleOf(lease: LeaseRef, secrets: Buffer, no: number): string {
  const bytes = Buffer.alloc(HANDLE_BYTES);
  Buffer.from(lease.operationId.replaceAll("-", ""), "hex").copy(bytes);
  bytes.writeInt32BE(lease.generation, 16);
  bytes.writeInt32BE(lease.batch, 20);
  bytes.writeInt32BE(lease.lease, 24);
  secrets.copy(bytes, 28, no * SECRET_BYTES, (no + 1) * SECRET_BYTES);
  return bytes.toString("base64url");
}

/** What a handle says it is, and the digest that proves it; undefined for what is no handle. */
export function readHandle(
  handle: string,
  key: string,
): (LeaseRef & { digest: Buffer }) | undefined {
  const bytes = Buffer.from(handle, "base64url");
  if (bytes.length !== HANDLE_BYTES || bytes.toString("base64url") !== handle) return undefined;
  const hex = bytes.subarray(0, 16).toString("hex");
  return {
    operationId: hex.replace(/^(.{8})(.{4})(.{4})(.{4})(.{12})$/, "$1-$2-$3-$4-$5"),
    generation: bytes.readInt32BE(16),
    batch: bytes.readInt32BE(20),
    lease: bytes.readInt32BE(24),
    digest: createHash("sha256").update(bytes).update(key, "utf8").digest(),
  };
}

/** Who holds a lease: a key and the name of its worker, which may hold what the worker may. */
export function holderOf(key: string, worker: string): string {
  return `${key}/${worker}`;
}
