import { randomBytes } from "node:crypto";
import { v7 as uuidv7 } from "uuid";
import { z } from "zod";
import { NotFound, Unauthorized } from "../contracts/errors.ts";
import { storable, Tenant } from "../contracts/operation.ts";
import { ROLES, type Role } from "../contracts/roles.ts";
import {
  findApiKey,
  hashKey,
  insertApiKey,
  listApiKeys,
  revokeApiKey,
  type ApiKeyRow,
} from "../db/api-keys.ts";
import { insertAudit } from "../db/audit.ts";
import { asking, assertEveryTenant, type Context } from "./context.ts";
import { parseInput } from "./input.ts";

export const NewKey = z
  .object({
    name: z.string().trim().min(1).max(100).superRefine(storable),
    role: z.enum(ROLES),
    /** Absent: every tenant. */
    tenants: z.array(Tenant).min(1).optional(),
  })
  .strict();

/**
 * API keys of people and services. The secret is shown once, by `create`. Who is held to some
 * tenants may handle no keys: one could be made that is held to none.
 */
export interface KeyClient {
  create(key: z.input<typeof NewKey>): Promise<{ id: string; secret: string; role: Role }>;
  list(): Promise<ApiKeyRow[]>;
  /** @throws NotFound */
  revoke(id: string): Promise<void>;
  /** The key behind a presented secret. @throws Unauthorized */
  verify(secret: string | undefined): Promise<ApiKeyRow>;
}

const PREFIX = "hf_";

export function keyClient(context: Context): KeyClient {
  const { db, actor } = context;
  return {
    create: (input) =>
      asking(async () => {
        assertEveryTenant(context);
        const { name, role, tenants } = parseInput(NewKey, input);
        const id = uuidv7();
        const secret = PREFIX + randomBytes(32).toString("base64url");
        await db.transaction(async (tx) => {
          await insertApiKey(tx, {
            id,
            name,
            role,
            tenants: tenants ?? null,
            hash: hashKey(secret),
            by: actor,
          });
          await insertAudit(tx, {
            actor,
            action: "key.create",
            tenant: "",
            subject: id,
            after: { name, role, tenants: tenants ?? null },
          });
        });
        return { id, secret, role };
      }),
    list: () =>
      asking(() => {
        assertEveryTenant(context);
        return listApiKeys(db);
      }),
    revoke: (id) =>
      asking(() =>
        db.transaction(async (tx) => {
          assertEveryTenant(context);
          parseInput(z.uuid("must be a key id (a uuid)"), id, "id");
          if (!(await revokeApiKey(tx, id))) {
            throw new NotFound("live key", id, 'see "holdfast key list"');
          }
          await insertAudit(tx, { actor, action: "key.revoke", tenant: "", subject: id });
        }),
      ),
    verify: (secret) =>
      asking(async () => {
        if (!secret) {
          throw new Unauthorized(
            'no API key: send "Authorization: Bearer <key>"; "holdfast key create" makes one',
          );
        }
        const key = await findApiKey(db, hashKey(secret));
        if (!key)
          throw new Unauthorized("the API key is unknown or revoked: ask an admin for a new one");
        return key;
      }),
  };
}
