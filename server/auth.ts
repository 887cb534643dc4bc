import { createHash } from "node:crypto";
import { LRUCache } from "lru-cache";
import type { Holdfast } from "../client/index.ts";
import { Forbidden, Unauthorized } from "../contracts/errors.ts";
import { ACTIONS, mayDo, type Action, type Role } from "../contracts/roles.ts";
import type { ServerSettings } from "./deps.ts";

/** Who a request comes from. */
export interface Principal {
  /** Stands in the audit. */
  name: string;
  /** Id of the API key; leases are bound to it. Absent: keys are off. */
  key?: string | undefined;
  role: Role;
  /** Absent: every tenant. */
  tenants?: readonly string[] | undefined;
}

/** Turns an API key into who holds it. */
export interface Doorkeeper {
  /** @throws Unauthorized when there is no key, or one that is unknown or revoked */
  identify(key: string | undefined): Promise<Principal>;
  /** Forgets what is remembered, so that a revoked key stops at once in this process. */
  forget(): void;
}

// A request costs no statement of its own for its key; a key revoked elsewhere works this much longer.
const REMEMBER_MS = 5_000;
const REMEMBER_KEYS = 1_000;

/** Everybody, where keys are off. */
export const LOCAL: Principal = { name: "local", role: "admin" };

/** Keys are looked up once in a few seconds. With `auth` off everybody is admin `local`. */
export function doorkeeper(holdfast: Holdfast, auth: ServerSettings["auth"]): Doorkeeper {
  // Remembered by hash, so that no secret stays in memory.
  const known = new LRUCache<string, Principal, string>({
    max: REMEMBER_KEYS,
    ttl: REMEMBER_MS,
    fetchMethod: async (_hash, _stale, { context: key }) => {
      const { id, name, role, tenants } = await holdfast.key.verify(key);
      return { name, key: id, role, ...(tenants ? { tenants } : {}) };
    },
  });
  return {
    identify: async (key) => {
      if (auth === "off") return LOCAL;
      if (!key) {
        throw new Unauthorized(
          'no API key: send "Authorization: Bearer <key>"; "holdfast key create" makes one',
        );
      }
      const hash = createHash("sha256").update(key).digest("base64");
      return (await known.fetch(hash, { context: key }))!;
    },
    forget: () => known.clear(),
  };
}

/** The key of an `Authorization: Bearer` header. @throws Unauthorized for another scheme */
export function bearer(authorization: string | undefined): string | undefined {
  if (authorization === undefined) return undefined;
  const [, key] = /^bearer +(\S+) *$/i.exec(authorization) ?? [];
  if (key) return key;
  throw new Unauthorized('the Authorization header must be "Bearer <key>"');
}

/** @throws Forbidden naming the role that would do */
export function assertMay(principal: Principal, action: Action): void {
  if (mayDo(principal.role, action)) return;
  throw new Forbidden(
    `key "${principal.name}" is ${principal.role}, and "${action}" needs ${ACTIONS[action]}: ask an admin for such a key`,
  );
}

/** For what concerns the whole installation. @throws Forbidden for a key of some tenants only */
export function assertEveryTenant(principal: Principal): void {
  if (principal.tenants === undefined) return;
  throw new Forbidden(
    `key "${principal.name}" is for ${principal.tenants.join(", ")} only, and this concerns every tenant: use a key without tenants`,
  );
}
