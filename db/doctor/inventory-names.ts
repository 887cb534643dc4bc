import type { HoldfastConfig } from "../../contracts/config.ts";
import type { Fields } from "../../contracts/inventory.ts";
import { parseExactJson } from "../../domain/exact-json.ts";
import { objectKeys } from "../../domain/plan-keys.ts";
import type { Registry } from "../../domain/registry.ts";
import { registryOf, settingsOf } from "../inventory-settings.ts";
import { takeInventory } from "../locks.ts";
import type { Db, Queryable } from "../pool.ts";
import { MOST_SUBJECTS, type Found, type RowCheck } from "./check.ts";
import { count } from "./operation-subject.ts";

/**
 * The names by which objects are found are what their matchers say, by the registry of their tenant.
 * Looked at from both sides, a sample from another place each time; the ends, too, so that a small
 * inventory is compared as a whole.
 */

/** Objects, or names, of one page. */
const SAMPLE = 500;

interface Row {
  id: string;
  tenant: string;
  branch: string;
  type: string;
  data: string;
}

const COLUMNS = "id::text, tenant, branch, type, data::text as data";

type WithInventory = Pick<HoldfastConfig, "inventory">;

/** The registry of each tenant, asked once; undefined where the configuration does not have it. */
function registries(db: Queryable, config: WithInventory) {
  const known = new Map<string, Promise<Registry | undefined>>();
  const read = async (tenant: string) => {
    const { registry } = await settingsOf(db, config, tenant);
    try {
      return registryOf(config, registry);
    } catch {
      return undefined;
    }
  };
  return (tenant: string) => {
    if (!known.has(tenant)) known.set(tenant, read(tenant));
    return known.get(tenant)!;
  };
}

/** What names an object; undefined when nothing is known of its type here. */
function namesOf(registry: Registry | undefined, { type: name, data }: Pick<Row, "type" | "data">) {
  const type = registry?.types.get(name);
  return type && new Set(objectKeys(type, parseExactJson(data) as Fields).values());
}

interface Name {
  tenant: string;
  branch: string;
  key: string;
  object: string;
}

const objectMissesName = (config: WithInventory): RowCheck => ({
  name: "object-misses-name",
  explanation: "an object is found by every name that its matchers give it",
  async find({ db }) {
    const missing = await missingNames(db, config, await sampleObjects(db));
    const held = missing.flatMap(({ holder, ...name }) =>
      holder === null ? [] : { ...name, object: holder },
    );
    const astray = new Set((await wrongNames(db, config, held)).map(subjectOf));
    const byObject = new Map(missing.toReversed().map((name) => [name.object, name]));
    return [...byObject.values()].slice(0, MOST_SUBJECTS).map((name): Found => {
      const { object, tenant, key, holder } = name;
      const message = `object ${object} is not found by ${key}`;
      const found = { subject: `object ${object}`, tenant };
      return holder === null || astray.has(subjectOf(name))
        ? { ...found, message, repair: "write the name again" }
        : {
            ...found,
            message: `${message}, which names object ${holder}: change what names one of them`,
          };
    });
  },
  async repair({ db }, { subject }) {
    const [object] = await objectsById(db, [subject.slice("object ".length)]);
    if (!object) return undefined;
    return inPlace(db, object, async (tx) => {
      const missing = await missingNames(tx, config, await objectsById(tx, [object.id]));
      const { rowCount } = await tx.query(
        `insert into holdfast.object_keys (tenant, branch, key, object)
         select $1, $2, key, $3 from unnest($4::text[]) as n(key) on conflict do nothing`,
        [object.tenant, object.branch, object.id, missing.map(({ key }) => key)],
      );
      return rowCount ? `wrote ${count(rowCount, "name")}` : undefined;
    });
  },
});

const nameOfNobody = (config: WithInventory): RowCheck => ({
  name: "name-of-nobody",
  explanation: "a name leads to an object that its matchers give that name",
  async find({ db }) {
    const wrong = await wrongNames(db, config, await sampleNames(db));
    return wrong.slice(0, MOST_SUBJECTS).map((name) => ({
      subject: subjectOf(name),
      tenant: name.tenant,
      message: `${name.key} in ${name.branch} leads to object ${name.object}, which is not called that`,
      repair: "take the name away",
    }));
  },
  async repair({ db }, { subject }) {
    const [tenant, branch, key] = JSON.parse(subject.slice("name ".length)) as string[];
    const place = { tenant: tenant!, branch: branch! };
    return inPlace(db, place, async (tx) => {
      const { rows } = await tx.query<Name>(
        `select tenant, branch, key, object::text as object from holdfast.object_keys
          where tenant = $1 and branch = $2 and key = $3`,
        [tenant, branch, key],
      );
      const [wrong] = await wrongNames(tx, config, rows);
      if (!wrong) return undefined;
      const { rowCount } = await tx.query(
        `delete from holdfast.object_keys
          where tenant = $1 and branch = $2 and key = $3 and object = $4`,
        [tenant, branch, key, wrong.object],
      );
      return rowCount ? "took it away" : undefined;
    });
  },
});

const subjectOf = ({ tenant, branch, key }: Name) =>
  `name ${JSON.stringify([tenant, branch, key])}`;

/** Nobody plans in a branch while its names are written; who is at it is not waited for. */
async function inPlace(
  db: Db,
  { tenant, branch }: { tenant: string; branch: string },
  work: (tx: Queryable) => Promise<string | undefined>,
): Promise<string | undefined> {
  return db.transaction(async (tx) =>
    (await takeInventory(tx, tenant, branch)) ? work(tx) : undefined,
  );
}

async function sampleObjects(db: Queryable): Promise<Row[]> {
  const { rows } = await db.query<Row>(
    `with ends as (select min(id) as first, max(id) as last from holdfast.objects)
     select ${COLUMNS} from (
       (select * from holdfast.objects order by id desc limit ${SAMPLE})
       union
       (select * from holdfast.objects
         where id >= (select first + floor(random() * (last - first))::bigint from ends)
         order by id limit ${SAMPLE})
       union
       (select o.* from holdfast.findings f
          join holdfast.objects o on f.subject = 'object ' || o.id
         where f.check_name = 'object-misses-name' and f.resolved_at is null
         limit ${MOST_SUBJECTS})) o`,
  );
  return rows;
}

/** From the first name on, and from those of any object on. */
async function sampleNames(db: Queryable): Promise<Name[]> {
  const { rows } = await db.query<Name>(
    `with ends as (select min(id) as first, max(id) as last from holdfast.objects),
          anywhere as (
            select tenant, branch, type || ':' as key from holdfast.objects
             where id >= (select first + floor(random() * (last - first))::bigint from ends)
             order by id limit 1)
     select tenant, branch, key, object::text as object from (
       (select * from holdfast.object_keys order by tenant, branch, key limit ${SAMPLE})
       union
       (select k.* from anywhere a
         cross join lateral (
           select * from holdfast.object_keys k
            where (k.tenant, k.branch, k.key) > (a.tenant, a.branch, a.key collate "C")
            order by k.tenant, k.branch, k.key limit ${SAMPLE}) k)) n`,
  );
  return rows;
}

async function objectsById(db: Queryable, ids: readonly string[]): Promise<Row[]> {
  const { rows } = await db.query<Row>(
    `select ${COLUMNS} from holdfast.objects where id = any ($1::bigint[])`,
    [ids],
  );
  return rows;
}

async function missingNames(
  db: Queryable,
  config: WithInventory,
  objects: readonly Row[],
): Promise<(Name & { holder: string | null })[]> {
  const registry = registries(db, config);
  const names: Name[] = [];
  for (const { id, tenant, branch, type, data } of objects) {
    for (const key of namesOf(await registry(tenant), { type, data }) ?? []) {
      names.push({ tenant, branch, key, object: id });
    }
  }
  const { rows } = await db.query<Name & { holder: string | null }>(
    `select n.tenant, n.branch, n.key, n.object, k.object::text as holder
       from unnest($1::text[], $2::text[], $3::text[], $4::text[]) as n(tenant, branch, key, object)
       left join lateral (
         select object from holdfast.object_keys
          where tenant = n.tenant and branch = n.branch and key = n.key collate "C" limit 1) k on true
      where k.object is distinct from n.object::bigint`,
    [
      names.map(({ tenant }) => tenant),
      names.map(({ branch }) => branch),
      names.map(({ key }) => key),
      names.map(({ object }) => object),
    ],
  );
  return rows;
}

/** Those that lead to nothing, to another branch, or to an object that is not called that. */
async function wrongNames(
  db: Queryable,
  config: WithInventory,
  names: readonly Name[],
): Promise<Name[]> {
  const registry = registries(db, config);
  const objects = await objectsById(db, [...new Set(names.map(({ object }) => object))]);
  const byId = new Map(objects.map((object) => [object.id, object]));
  const wrong: Name[] = [];
  for (const name of names) {
    const object = byId.get(name.object);
    const isThere = object && object.tenant === name.tenant && object.branch === name.branch;
    const called = isThere ? namesOf(await registry(name.tenant), object) : new Set<string>();
    if (called && !called.has(name.key)) wrong.push(name);
  }
  return wrong;
}

/** Those that have to know the registries. What leads astray goes first: it may stand in another's way. */
export const inventoryNameChecks = (config: WithInventory): readonly RowCheck[] => [
  nameOfNobody(config),
  objectMissesName(config),
];
