import pg from "pg";
import { expect, onTestFinished } from "vitest";
import { reindexActivities } from "../../activities/reindex.ts";
import type { HoldfastConfig } from "../../contracts/config.ts";
import type { ReindexSubmit } from "../../contracts/reindex.ts";
import { findOperation } from "../../db/operations.ts";
import type { Db } from "../../db/pool.ts";
import { fresh, type Fresh } from "./fresh.ts";
import { classify } from "../../domain/faults.ts";
import { createEstate, ESTATE } from "./estate.ts";
import { inActivity } from "./retaining.ts";

/** The estate in a database of the test's own, with search installed. */
export async function estate(config: HoldfastConfig = ESTATE): Promise<Fresh> {
  const made = await fresh(config);
  await createEstate(made.db);
  await made.holdfast.search.install();
  return made;
}

/** A connection of the application, which gives up a lock it cannot have soon. */
export async function connectedTo({ url }: Pick<Fresh, "url">): Promise<pg.Client> {
  const client = new pg.Client({ connectionString: url, application_name: "app" });
  client.on("error", () => undefined);
  await client.connect();
  await client.query("set lock_timeout = '300ms'");
  onTestFinished(() => client.end());
  return client;
}

/** A whole reindex, worked as its workflow does it. `using`: the database as the worker has it. */
export async function reindexed(
  { db, holdfast }: Fresh,
  what: ReindexSubmit,
  using: Db = db,
): Promise<void> {
  const { id } = await holdfast.search.reindex(what);
  const { kind, tenant, scope, generation, total, priority } = (await findOperation(db, id))!;
  const ref = { kind, id, tenant, scope, generation, total, priority };
  const { reindexWhole } = reindexActivities({ db: using, config: ESTATE, identity: "worker" });
  for (let calls = 0; calls < 50; calls++) {
    const answer = await inActivity(() => reindexWhole(ref)).catch((error: unknown) => {
      // Retried without limit, as its workflow would.
      if (classify(error) !== "infrastructure") throw error;
      return {};
    });
    if ("finished" in answer) return expect(answer.finished).toMatchObject({ state: "completed" });
  }
  throw new Error(`operation ${id} does not come to its end`);
}
