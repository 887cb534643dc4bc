import type { Fields } from "../contracts/inventory.ts";
import { listObjects, listTypes } from "../db/inventory-read.ts";
import type { InventoryPlace } from "../db/inventory-look-up.ts";
import { lookUp } from "../db/inventory-look-up.ts";
import type { Db } from "../db/pool.ts";
import { canonicalJson } from "../domain/exact-json.ts";
import { knowsMany, newAcquaintance, showObjects } from "../domain/inventory-show.ts";
import { driveAsync } from "../domain/plan-batch.ts";
import type { Registry } from "../domain/registry.ts";

/** One object as others can compare it: nothing in it differs between two inventories that hold the same. */
export interface ExportedObject {
  type: string;
  /** What names it, references by theirs. */
  identity: Fields;
  /** All its fields, references by identity. */
  attributes: Fields;
}

const PAGE = 500;

/**
 * Objects by type and, in one type, in the order they were made. A page is read from one state of the
 * inventory; between pages it may change, and what is made meanwhile of a type that is done is left out.
 */
export async function* exportObjects(
  db: Db,
  registry: Registry,
  place: InventoryPlace,
  only: readonly string[] | undefined,
): AsyncIterable<ExportedObject> {
  const types = only?.toSorted() ?? (await listTypes(db, place, 0)).map(({ type }) => type);
  let known = newAcquaintance(registry);
  for (const type of types) {
    for (let after: string | undefined; ;) {
      if (knowsMany(known)) known = newAcquaintance(registry);
      const page = await readPage(db, place, type, after, known);
      yield* page.lines;
      if (page.last === undefined) break;
      after = page.last;
    }
  }
}

async function readPage(
  db: Db,
  place: InventoryPlace,
  type: string,
  after: string | undefined,
  known: ReturnType<typeof newAcquaintance>,
): Promise<{ lines: ExportedObject[]; last: string | undefined }> {
  return db.transaction(
    async (tx) => {
      const objects = await listObjects(tx, place, type, { after, limit: PAGE });
      const shown = await driveAsync(showObjects(known, objects), (wanted) =>
        lookUp(tx, place, wanted),
      );
      const lines = shown.map(({ identity, attributes }) => ({ type, identity, attributes }));
      return { lines, last: objects.length === PAGE ? objects.at(-1)!.id : undefined };
    },
    { readOnly: true, repeatableRead: true },
  );
}

/** One line of NDJSON: keys of objects in order, integers exact. */
export function exportLine({ type, identity, attributes }: ExportedObject): string {
  return `{"type":${JSON.stringify(type)},"identity":${canonicalJson(identity)},"attributes":${canonicalJson(attributes)}}\n`;
}
