import { createHash } from "node:crypto";
import type { SearchSettingsInput } from "../contracts/search.ts";
import type { Db, Queryable } from "../db/pool.ts";
import { documents } from "./prose.ts";

/** What is searched: devices of ten tenants, four values each, in a table with four indexes. */

export const SEARCH = {
  builtIn: false,
  schemas: ["captured", "branch"],
  types: [
    {
      name: "device",
      table: "devices",
      title: "t.name",
      visible: "viewer -> 'tenants' is null or viewer -> 'tenants' ? t.tenant",
      fields: [
        { name: "serial", weight: 50 },
        { name: "name", weight: 100 },
        { name: "address", kind: "address", weight: 150 },
        { name: "comments", kind: "prose", weight: 5_000 },
      ],
    },
  ],
} satisfies SearchSettingsInput;

/** Rows of the index for one device. */
export const ROWS_OF_ONE = 4;
export const TENANTS = 10;

export interface Device {
  id: number;
  tenant: string;
  name: string;
  serial: string;
  site: number;
  address: string;
  comments: string;
}

const COMMENTS = { count: 20_000, size: 120 };
let comments: string[] | undefined;

/** The device of a number; another `edition` of it differs in everything that is searched. */
export function deviceOf(id: number, edition = 0): Device {
  comments ??= documents(COMMENTS.count, COMMENTS.size);
  const serial = createHash("md5").update(`${id}/${edition}`).digest("hex").slice(0, 12);
  return {
    id,
    tenant: `tenant-${id % TENANTS}`,
    name: `core-${id % 997}-unit-${id}-${edition}`,
    serial: serial.toUpperCase(),
    site: id % 997,
    address: `10.${(id >> 16) & 255}.${(id >> 8) & 255}.${(id + edition * 7) & 255}`,
    comments: comments[(id * 7 + edition) % comments.length]!,
  };
}

/** `count` devices from number `from` on. */
export function devices(from: number, count: number, edition = 0): Device[] {
  return Array.from({ length: count }, (_, index) => deviceOf(from + index, edition));
}

export async function createDevices(db: Queryable, ...schemas: string[]): Promise<void> {
  for (const schema of schemas) {
    await db.query(
      `create schema if not exists ${schema};
       create table ${schema}.devices (id bigint primary key, tenant text not null,
         name text not null, serial text not null unique, site integer not null,
         address inet not null, comments text not null);
       create index on ${schema}.devices (name);
       create index on ${schema}.devices (tenant, site)`,
    );
  }
}

const COLUMNS = "id, tenant, name, serial, site, address, comments";

/** Sends rows to a table beside, from where statements that are measured take them. */
export async function stage(db: Queryable, rows: readonly Device[]): Promise<void> {
  await db.query(
    `create schema if not exists staged;
     create table if not exists staged.devices (id bigint primary key, tenant text, name text,
       serial text, site integer, address inet, comments text);
     truncate staged.devices`,
  );
  for (let from = 0; from < rows.length; from += STAGED_AT_ONCE) {
    const some = rows.slice(from, from + STAGED_AT_ONCE);
    await db.query(
      `insert into staged.devices (${COLUMNS})
       select * from unnest($1::bigint[], $2::text[], $3::text[], $4::text[], $5::int[],
                            $6::inet[], $7::text[])`,
      [
        some.map((row) => row.id),
        some.map((row) => row.tenant),
        some.map((row) => row.name),
        some.map((row) => row.serial),
        some.map((row) => row.site),
        some.map((row) => row.address),
        some.map((row) => row.comments),
      ],
    );
  }
  await db.query("analyze staged.devices");
}

const STAGED_AT_ONCE = 10_000;

/** Writes what is staged, in one statement. */
export async function insertStaged(db: Queryable, schema: string): Promise<void> {
  await db.query(
    `insert into ${schema}.devices (${COLUMNS}) select ${COLUMNS} from staged.devices`,
  );
}

/** Brings everything that is searched of each staged device to what is staged, in one statement. */
export async function updateStaged(db: Queryable, schema: string): Promise<void> {
  await db.query(
    `update ${schema}.devices d
        set name = s.name, serial = s.serial, address = s.address, comments = s.comments
       from staged.devices s where s.id = d.id`,
  );
}

/** Writes one device, with its commit. */
export async function insertDevice(db: Queryable, schema: string, device: Device): Promise<void> {
  await db.query(`insert into ${schema}.devices (${COLUMNS}) values ($1, $2, $3, $4, $5, $6, $7)`, [
    device.id,
    device.tenant,
    device.name,
    device.serial,
    device.site,
    device.address,
    device.comments,
  ]);
}

/** Renames one device, with its commit. */
export async function renameDevice(
  db: Queryable,
  schema: string,
  { id, name }: Pick<Device, "id" | "name">,
): Promise<void> {
  await db.query(`update ${schema}.devices set name = $2 where id = $1`, [id, name]);
}

/** The index of a schema's devices, as it is searched. */
export async function indexOf(db: Db, schema: string): Promise<{ id: number; generation: number }> {
  const { rows } = await db.query<{ id: number; generation: number }>(
    "select id, generation from holdfast.search_indexes where schema_name = $1",
    [schema],
  );
  return rows[0]!;
}
