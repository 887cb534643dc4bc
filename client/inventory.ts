import { InvalidInput, NotFound } from "../contracts/errors.ts";
import type { Fields } from "../contracts/inventory.ts";
import { BUILT_IN_BRANCH } from "../contracts/inventory-settings.ts";
import { ObjectFilter, ObjectIdText, ObjectPages, InBranch } from "../contracts/inventory-view.ts";
import type { Page } from "../contracts/operation.ts";
import { settingsOf } from "../db/inventory-settings.ts";
import { lookUp, type InventoryPlace } from "../db/inventory-look-up.ts";
import {
  findObject,
  listBranches,
  listJournal,
  listObjects,
  listObjectsByKey,
  listReferrers,
  listTypes,
  type JournalRow,
  type StoredObject,
} from "../db/inventory-read.ts";
import type { Queryable } from "../db/pool.ts";
import type { Json } from "../domain/exact-json.ts";
import { cleanFields } from "../domain/inventory-entity.ts";
import { findByIdentity, keyRanges, withTypedText } from "../domain/inventory-find.ts";
import { registryOf } from "../domain/inventory-registries.ts";
import {
  fieldsReferringTo,
  newAcquaintance,
  referencesOf,
  showObjects,
  titleOf,
} from "../domain/inventory-show.ts";
import { driveAsync } from "../domain/plan-batch.ts";
import { objectKeys } from "../domain/plan-keys.ts";
import type { InventoryType, Registry } from "../domain/registry.ts";
import { asking, assertTenant, defaultTenant, maySee, type Context } from "./context.ts";
import { parseInput } from "./input.ts";
import { exportObjects, type ExportedObject } from "./inventory-export.ts";
import { holdClient, type HoldClient } from "./inventory-holds.ts";
import { inventorySettingsClient, type InventorySettingsClient } from "./inventory-settings.ts";

/** An object of the built-in inventory. Integers beyond 2^53 are bigint. */
export interface InventoryObjectView extends ObjectNameView {
  tenant: string;
  branch: string;
  /** Grows with every change. */
  version: number;
  /** All fields, references by identity. */
  attributes: Fields;
  createdAt: string;
  updatedAt: string;
}

interface ObjectNameView {
  id: string;
  type: string;
  /** `Device sw1`. */
  title: string;
  /** What names it: the fields of the first complete matcher, references by theirs. */
  identity: Fields;
}

interface ObjectTypeView {
  type: string;
  label: string;
  objects: number;
  /** True when there are more than were counted. */
  more: boolean;
}

export interface ObjectChangeView {
  /** Of the entry in the journal: the cursor of the page after it. */
  id: string;
  version: number;
  kind: "create" | "update" | "delete";
  at: string;
  entity: string;
  /** The fields that changed; absent when the change set is no longer kept. */
  before?: Fields;
  after?: Fields;
  /** Of the whole change set. */
  title?: string;
  /** Who approved it. */
  decidedBy?: string;
  /** The rule that let it be applied. */
  rule?: string;
  request?: string;
  operation?: string;
}

export interface ObjectReferencesView {
  /** What it refers to; what is gone has no type. */
  out: { field: string; id: string; type?: string; title: string }[];
  /** What refers to it, and by which fields. */
  in: Page<ObjectNameView & { fields: string[] }>;
}

/** The built-in inventory, to read; it is written by what is ingested, planned and applied. */
export interface InventoryClient {
  /** Branches that hold objects, the first 1,000. */
  branches(): Promise<InventoryPlace[]>;
  /** Types that a branch holds, each counted up to `countTo`, 100,000 unless told otherwise. */
  types(of?: InBranch, countTo?: number): Promise<ObjectTypeView[]>;
  /**
   * Objects of a type, 100 a page unless `limit` (1 to 1,000) says otherwise: in the order they were
   * made, or, with `text`, those whose name begins with it, by name. @throws InvalidInput
   */
  list(filter: ObjectFilter): Promise<Page<InventoryObjectView>>;
  /** By id, or by what names it, references by value. @throws NotFound, InvalidInput */
  get(which: string | ByIdentity): Promise<InventoryObjectView>;
  /** What happened to an object, newest first, also when it is gone. @throws NotFound */
  history(id: string, pages?: ObjectPages): Promise<Page<ObjectChangeView>>;
  /** What it refers to, and, 50 a page, what refers to it. @throws NotFound */
  references(id: string, pages?: ObjectPages): Promise<ObjectReferencesView>;
  /** Everything, or all of some types, a page in memory at a time. @throws InvalidInput at once */
  export(of?: InBranch & { types?: readonly string[] }): Promise<AsyncIterable<ExportedObject>>;
  readonly settings: InventorySettingsClient;
  readonly holds: HoldClient;
}

interface ByIdentity extends InBranch {
  type: string;
  /** Text may stand for a number where the field is one. */
  identity: { readonly [field: string]: Json };
}

const BRANCHES = 1_000;
const COUNT_TO = 100_000;

export function inventoryClient(context: Context): InventoryClient {
  const { db } = context;
  return {
    branches: () => asking(() => listBranches(db, context.tenants, BRANCHES)),
    types: (of = {}, countTo = COUNT_TO) =>
      asking(async () => {
        const { place, registry } = await placeOf(context, of);
        const found = await listTypes(db, place, countTo + 1);
        return found.map(({ type, objects }) => ({
          type,
          label: registry.types.get(type)?.label ?? type,
          objects: Math.min(objects, countTo),
          more: objects > countTo,
        }));
      }),
    list: (filter) => asking(() => list(context, filter)),
    get: (which) =>
      asking(async () => {
        if (typeof which !== "string") return getByIdentity(context, which);
        const object = await objectOf(context, which);
        const registry = await registryFor(context, object.tenant);
        return (await viewsOf(db, registry, object, [object]))[0]!;
      }),
    history: (id, pages = {}) => asking(() => history(context, id, pages)),
    references: (id, pages = {}) => asking(() => references(context, id, pages)),
    export: ({ types, ...of } = {}) =>
      asking(async () => {
        const { place, registry } = await placeOf(context, of);
        for (const type of types ?? []) typeOf(registry, type);
        return exportObjects(db, registry, place, types);
      }),
    settings: inventorySettingsClient(context),
    holds: holdClient(context),
  };
}

async function registryFor({ db, config }: Context, tenant: string): Promise<Registry> {
  return registryOf(config, (await settingsOf(db, config, tenant)).registry);
}

async function placeOf(context: Context, of: InBranch) {
  const { tenant = defaultTenant(context), branch } = parseInput(InBranch, of);
  assertTenant(context, tenant);
  const settings = await settingsOf(context.db, context.config, tenant);
  const place = { tenant, branch: branch ?? settings.defaultBranch ?? BUILT_IN_BRANCH };
  return { place, registry: registryOf(context.config, settings.registry) };
}

/** @throws InvalidInput naming the types there are */
function typeOf(registry: Registry, name: string): InventoryType {
  const type = registry.find(name);
  if (type) return type;
  const names = [...registry.types.keys()].join(", ");
  const message = `${name} is no type of the ${registry.name} registry: choose one of ${names}`;
  throw new InvalidInput([{ path: "type", message }]);
}

async function objectOf(context: Context, id: string): Promise<StoredObject> {
  const object = await findObject(context.db, parseInput(ObjectIdText, id, "id"));
  if (!object || !maySee(context, object.tenant)) {
    throw new NotFound(
      "object",
      id,
      'it may have been removed, see its history; "holdfast inventory list" shows what is there',
    );
  }
  return object;
}

async function viewsOf(
  db: Queryable,
  registry: Registry,
  place: InventoryPlace,
  objects: readonly StoredObject[],
): Promise<InventoryObjectView[]> {
  const shown = await driveAsync(showObjects(newAcquaintance(registry), objects), (wanted) =>
    lookUp(db, place, wanted),
  );
  return objects.map(({ id, tenant, branch, type, version, createdAt, updatedAt }, no) => ({
    id,
    tenant,
    branch,
    type,
    version,
    ...shown[no]!,
    createdAt: createdAt.toISOString(),
    updatedAt: updatedAt.toISOString(),
  }));
}

async function list(context: Context, filter: ObjectFilter): Promise<Page<InventoryObjectView>> {
  const { type: name, text, after, limit, ...of } = parseInput(ObjectFilter, filter);
  const { place, registry } = await placeOf(context, of);
  const { db } = context;
  if (text !== undefined && text !== "") {
    return listByName(db, registry, place, typeOf(registry, name), { text, after, limit });
  }
  const objects = await listObjects(db, place, name, {
    after: after && parseInput(ObjectIdText, after, "after"),
    limit: limit + 1,
  });
  if (objects.length === 0) typeOf(registry, name);
  const items = await viewsOf(db, registry, place, objects.slice(0, limit));
  return objects.length > limit ? { items, next: items.at(-1)!.id } : { items };
}

async function listByName(
  db: Queryable,
  registry: Registry,
  place: InventoryPlace,
  type: InventoryType,
  { text, after, limit }: { text: string; after: string | undefined; limit: number },
): Promise<Page<InventoryObjectView>> {
  const ranges = keyRanges(type, text);
  if (ranges.length === 0) {
    const message = `nothing that names a ${type.name} begins with a text: leave it out`;
    throw new InvalidInput([{ path: "text", message }]);
  }
  const found = await listObjectsByKey(db, place, ranges, { after, limit: limit + 1 });
  const page = found.slice(0, limit);
  // Named so twice, an object is shown where its first name stands.
  const objects = page.flatMap(({ key, object }) =>
    firstIn(ranges, objectKeys(type, object.data).values()) === key ? object : [],
  );
  const items = await viewsOf(db, registry, place, objects);
  return found.length > limit ? { items, next: page.at(-1)!.key } : { items };
}

function firstIn(ranges: readonly { from: string }[], keys: Iterable<string>): string | undefined {
  return [...keys].filter((key) => ranges.some(({ from }) => key.startsWith(from))).toSorted()[0];
}

async function getByIdentity(
  context: Context,
  { type: name, identity, ...of }: ByIdentity,
): Promise<InventoryObjectView> {
  const { db } = context;
  const { place, registry } = await placeOf(context, of);
  const type = typeOf(registry, name);
  const clean = cleanFields(registry, type, withTypedText(registry, type, identity as Fields));
  // In a feed a field that nobody knows is dropped; here it is a slip of the pen.
  const unknown = clean.warnings.map((message) => ({ path: "identity", message }));
  if (unknown.length > 0) throw new InvalidInput(unknown);
  if (clean.issues.length > 0) throw new InvalidInput(clean.issues);
  const id = await driveAsync(findByIdentity(registry, type, clean.fields), (wanted) =>
    lookUp(db, place, wanted),
  );
  const object = id === undefined ? undefined : await findObject(db, id);
  if (!object) {
    const shown = titleOf(type, clean.fields);
    const ways = type.matchers.map(({ parts }) => parts.map(({ field }) => field.name).join("+"));
    throw new NotFound(
      "object",
      `${shown} in ${place.tenant}/${place.branch}`,
      `a ${type.name} is named by ${ways.join(", or ")}, exactly as written, case included`,
    );
  }
  return (await viewsOf(db, registry, place, [object]))[0]!;
}

async function history(
  context: Context,
  id: string,
  pages: ObjectPages,
): Promise<Page<ObjectChangeView>> {
  const { after, limit } = parseInput(ObjectPages, pages);
  const journal = await listJournal(context.db, parseInput(ObjectIdText, id, "id"), {
    before: after,
    limit: limit + 1,
  });
  const tenant = journal.find((row) => row.tenant !== null)?.tenant;
  // Who made it may be forgotten by now; the object itself still says whose it is.
  if (!tenant || !maySee(context, tenant)) await objectOf(context, id);
  const items = journal.slice(0, limit).map(changeView);
  return journal.length > limit ? { items, next: items.at(-1)!.id } : { items };
}

function changeView({ at, ...row }: JournalRow): ObjectChangeView {
  const kept = Object.entries(row).filter(
    ([name, value]) => name !== "tenant" && value !== null && value !== undefined,
  );
  return { ...(Object.fromEntries(kept) as Omit<ObjectChangeView, "at">), at: at.toISOString() };
}

async function references(
  context: Context,
  id: string,
  pages: ObjectPages,
): Promise<ObjectReferencesView> {
  const { after, limit } = parseInput(ObjectPages, pages);
  const { db } = context;
  const object = await objectOf(context, id);
  const registry = await registryFor(context, object.tenant);
  const known = newAcquaintance(registry);
  const look = (wanted: Parameters<typeof lookUp>[2]) => lookUp(db, object, wanted);
  await driveAsync(showObjects(known, [object]), look);
  const out = referencesOf(known, object).map(({ field, to, type, identity }) => ({
    field,
    id: to,
    ...(type !== undefined && { type }),
    title: identity ? titleOf(registry.types.get(type!), identity) : `gone: ${to}`,
  }));
  const referrers = await listReferrers(db, id, { after, limit: limit + 1 });
  const page = referrers.slice(0, limit);
  const shown = await driveAsync(showObjects(known, page), look);
  const items = page.map((one, no) => ({
    id: one.id,
    type: one.type,
    title: shown[no]!.title,
    identity: shown[no]!.identity,
    fields: fieldsReferringTo(registry, one, id),
  }));
  return { out, in: referrers.length > limit ? { items, next: page.at(-1)!.id } : { items } };
}
