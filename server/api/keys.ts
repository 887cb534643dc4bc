import { z } from "zod";
import { NewKey } from "../../client/key.ts";
import { ROLES } from "../../contracts/roles.ts";
import type { ApiKeyRow } from "../../db/api-keys.ts";
import { jsonObject } from "../body.ts";
import { listOf, route, type Api } from "./route.ts";

const KeyView = z
  .object({
    id: z.string(),
    name: z.string(),
    role: z.enum(ROLES),
    /** Null: every tenant. */
    tenants: z.array(z.string()).nullable(),
    createdBy: z.string(),
    createdAt: z.string(),
    revokedAt: z.string().nullable(),
  })
  .meta({ id: "Key" });
const MadeKey = z
  .object({ id: z.string(), role: z.enum(ROLES), secret: z.string() })
  .meta({ id: "MadeKey" });

const NewKeyBody = NewKey.meta({ id: "NewKey" });

/** API keys. A key of some tenants may not handle keys: it could make itself a greater one. */
export function keyRoutes(api: Api): void {
  const declared = { action: "keys", tag: "keys" } as const;
  route(
    api,
    {
      ...declared,
      method: "get",
      path: "/v1/keys",
      id: "listKeys",
      summary: "API keys, without their secrets",
      answer: listOf(KeyView).meta({ id: "KeyList" }),
    },
    async ({ holdfast }) => ({ items: (await holdfast.key.list()).map(view) }),
  );
  route(
    api,
    {
      ...declared,
      method: "post",
      path: "/v1/keys",
      id: "createKey",
      summary: "Make a key; its secret is in this answer and nowhere else",
      body: { content: { "application/json": { schema: NewKeyBody } } },
      answer: MadeKey,
      status: 201,
    },
    async ({ c, holdfast }) => holdfast.key.create((await jsonObject(c)) as z.input<typeof NewKey>),
  );
  route(
    api,
    {
      ...declared,
      method: "delete",
      path: "/v1/keys/{id}",
      id: "revokeKey",
      summary: "Revoke a key: at once here, within 5 s in other processes",
      params: z.strictObject({ id: z.uuid("must be a key id (a uuid)") }),
      answer: listOf(KeyView).meta({ id: "KeyList" }),
    },
    async ({ holdfast, params }) => {
      await holdfast.key.revoke(params.id);
      api.doorkeeper.forget();
      return { items: (await holdfast.key.list()).map(view) };
    },
  );
}

function view(row: ApiKeyRow): z.infer<typeof KeyView> {
  const { id, name, role, tenants } = row;
  return {
    id,
    name,
    role,
    tenants,
    createdBy: row.created_by,
    createdAt: row.created_at.toISOString(),
    revokedAt: row.revoked_at?.toISOString() ?? null,
  };
}
