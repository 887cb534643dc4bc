import type { Context } from "hono";
import { z } from "zod";
import { exportLine } from "../../client/inventory-export.ts";
import { parseInput } from "../../client/input.ts";
import { InvalidInput } from "../../contracts/errors.ts";
import type { FieldValue } from "../../contracts/inventory.ts";
import { InventorySettingsPatch } from "../../contracts/inventory-settings.ts";
import {
  InBranch,
  InventoryBranch,
  InventoryHold,
  InventoryTypeName,
  LiftHold,
  ObjectChange,
  ObjectFilter,
  ObjectIdText,
  ObjectPages,
  ObjectReferences,
  ObjectTypeCount,
  ObjectView,
} from "../../contracts/inventory-view.ts";
import { DEFAULT_TENANT } from "../../contracts/operation.ts";
import { canonicalJson, parseExactJson, type Json } from "../../domain/exact-json.ts";
import type { Principal } from "../auth.ts";
import { jsonObject, NDJSON_TYPE } from "../body.ts";
import { given, tenant } from "./parameters.ts";
import { listOf, pageOf, route, type Api } from "./route.ts";

const OfObject = z.strictObject({ id: ObjectIdText });
const Settings = z.record(z.string(), z.unknown()).meta({ id: "InventorySettings" });

/** The built-in inventory: what it holds, why, and how it is written. */
export function inventoryRoutes(api: Api): void {
  const tag = "inventory";
  route(
    api,
    {
      action: "read",
      method: "get",
      path: "/v1/inventory/branches",
      id: "listInventoryBranches",
      tag,
      summary: "Branches that hold objects, by tenant",
      answer: listOf(InventoryBranch.meta({ id: "InventoryBranch" })),
    },
    async ({ holdfast }) => ({ items: await holdfast.inventory.branches() }),
  );
  route(
    api,
    {
      action: "read",
      method: "get",
      path: "/v1/inventory/types",
      id: "listInventoryTypes",
      tag,
      summary: "Types that a branch holds, with how many objects each",
      query: InBranch,
      answer: listOf(ObjectTypeCount.meta({ id: "ObjectTypeCount" })),
    },
    async ({ holdfast, query }) => ({ items: await holdfast.inventory.types(query) }),
  );
  route(
    api,
    {
      action: "read",
      method: "get",
      path: "/v1/inventory/objects",
      id: "listObjects",
      tag,
      summary: "Objects of a type, or the one that an identity names",
      description:
        "`identity` is a JSON object of the fields that name it, references by value; it goes without `text` and pages. Integers beyond 2^53 are exact.",
      query: ObjectFilter.extend({ identity: z.string().max(100_000).optional() }),
      answer: pageOf(ObjectView.meta({ id: "InventoryObject" })).meta({ id: "ObjectPage" }),
    },
    async ({ c, holdfast, query: { identity, type, ...filter } }) => {
      if (identity === undefined) {
        return exact(c, await holdfast.inventory.list({ ...filter, type }));
      }
      const { tenant, branch } = filter;
      const which = { type, identity: parseIdentity(identity), ...given({ tenant, branch }) };
      return exact(c, { items: [await holdfast.inventory.get(which)] });
    },
  );
  route(
    api,
    {
      action: "read",
      method: "get",
      path: "/v1/inventory/objects/{id}",
      id: "getObject",
      tag,
      summary: "One object with all its fields",
      params: OfObject,
      answer: ObjectView,
    },
    async ({ c, holdfast, params }) => exact(c, await holdfast.inventory.get(params.id)),
  );
  route(
    api,
    {
      action: "read",
      method: "get",
      path: "/v1/inventory/objects/{id}/history",
      id: "listObjectChanges",
      tag,
      summary: "What happened to an object, newest first, also when it is gone",
      params: OfObject,
      query: ObjectPages,
      answer: pageOf(ObjectChange.meta({ id: "ObjectChange" })).meta({ id: "ObjectChangePage" }),
    },
    async ({ c, holdfast, params, query }) =>
      exact(c, await holdfast.inventory.history(params.id, query)),
  );
  route(
    api,
    {
      action: "read",
      method: "get",
      path: "/v1/inventory/objects/{id}/references",
      id: "listObjectReferences",
      tag,
      summary: "What an object refers to, and, page by page, what refers to it",
      params: OfObject,
      query: ObjectPages,
      answer: ObjectReferences.meta({ id: "ObjectReferences" }),
    },
    async ({ c, holdfast, params, query }) =>
      exact(c, await holdfast.inventory.references(params.id, query)),
  );
  route(
    api,
    {
      action: "read",
      method: "get",
      path: "/v1/inventory/export",
      id: "exportInventory",
      tag,
      summary: "All objects of a branch as NDJSON: type, identity, attributes",
      description:
        "References are given by what names them, so two inventories that hold the same are equal but for the order of lines. Integers beyond 2^53 are exact.",
      query: InBranch.extend({
        type: z.union([InventoryTypeName, z.array(InventoryTypeName)]).optional(),
      }),
      streams: { mediaType: NDJSON_TYPE, description: "One object a line." },
    },
    async ({ holdfast, query: { type, ...of } }) => {
      const types = type === undefined ? {} : { types: [type].flat() };
      return streamed(await holdfast.inventory.export({ ...of, ...types }));
    },
  );
  holdRoutes(api, tag);
  settingsRoutes(api, tag);
}

function holdRoutes(api: Api, tag: string): void {
  route(
    api,
    {
      action: "read",
      method: "get",
      path: "/v1/inventory/holds",
      id: "listHolds",
      tag,
      summary: "Branches in which so much was about to change that everything waits",
      answer: listOf(InventoryHold.meta({ id: "InventoryHold" })),
    },
    async ({ holdfast }) => ({ items: await holdfast.inventory.holds.list() }),
  );
  route(
    api,
    {
      action: "decide",
      method: "post",
      path: "/v1/inventory/holds/lift",
      id: "liftHold",
      tag,
      summary: "Let a held branch go on, once somebody has looked",
      body: { content: { "application/json": { schema: LiftHold } } },
      answer: z.object({ lifted: z.literal(true) }),
      also: { 404: { description: "It is not held, or no longer" } },
    },
    async ({ c, holdfast, principal }) => {
      const { tenant, branch } = parseInput(LiftHold, await jsonObject(c));
      await holdfast.inventory.holds.lift({ tenant: tenantOf(principal, tenant), branch });
      return { lifted: true as const };
    },
  );
}

function settingsRoutes(api: Api, tag: string): void {
  const query = z.strictObject({ tenant });
  route(
    api,
    {
      action: "read",
      method: "get",
      path: "/v1/inventory/settings",
      id: "getInventorySettings",
      tag,
      summary: "How a tenant's entities are planned",
      query,
      answer: Settings,
    },
    async ({ holdfast, principal, query }) => ({
      ...(await holdfast.inventory.settings.get(tenantOf(principal, query.tenant))),
    }),
  );
  route(
    api,
    {
      action: "settings",
      method: "put",
      path: "/v1/inventory/settings",
      id: "setInventorySettings",
      tag,
      summary: "Change how a tenant's entities are planned; counts from the next batch on",
      description: "Absent fields stay; null takes one back to what is configured.",
      query,
      body: { content: { "application/json": { schema: InventorySettingsPatch } } },
      answer: Settings,
    },
    async ({ c, holdfast, principal, query }) => {
      const patch = parseInput(InventorySettingsPatch, await jsonObject(c, SETTINGS_BYTES));
      const set = holdfast.inventory.settings.set(tenantOf(principal, query.tenant), patch);
      return { ...(await set) };
    },
  );
}

/** A thousand rules. */
const SETTINGS_BYTES = 1024 * 1024;

function tenantOf({ tenants }: Principal, given: string | undefined): string {
  return given ?? (tenants?.length === 1 ? tenants[0]! : DEFAULT_TENANT);
}

function parseIdentity(text: string): { readonly [field: string]: Json } {
  let value: Json;
  try {
    value = parseExactJson(text);
  } catch (error) {
    const message = `cannot be read as JSON: ${error instanceof Error ? error.message : "bad"}`;
    throw new InvalidInput([{ path: "query: identity", message }]);
  }
  if (typeof value !== "object" || value === null || Array.isArray(value)) {
    const message = 'must be a JSON object of the fields that name it: {"name":"sw1"}';
    throw new InvalidInput([{ path: "query: identity", message }]);
  }
  return value as { readonly [field: string]: Json };
}

// The platform's own writer refuses integers that it cannot hold.
function exact(c: Context, value: unknown): Response {
  return c.body(canonicalJson(value as FieldValue), 200, { "content-type": "application/json" });
}

/** Bytes of lines that are sent at a time. */
const CHUNK = 64 * 1024;

function streamed(objects: AsyncIterable<Parameters<typeof exportLine>[0]>): Response {
  const lines = objects[Symbol.asyncIterator]();
  const encoder = new TextEncoder();
  const body = new ReadableStream<Uint8Array>(
    {
      async pull(controller) {
        let text = "";
        while (text.length < CHUNK) {
          const next = await lines.next();
          if (next.done) {
            if (text !== "") controller.enqueue(encoder.encode(text));
            controller.close();
            return;
          }
          text += exportLine(next.value);
        }
        controller.enqueue(encoder.encode(text));
      },
      async cancel() {
        await lines.return?.();
      },
    },
    { highWaterMark: 0 },
  );
  return new Response(body, { headers: { "content-type": NDJSON_TYPE } });
}
